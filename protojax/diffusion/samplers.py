"""Noise -> image, and image -> noise, step by step in one `lax.scan`.

`follow` walks along the times it is given: downwards it is Euler's method for
rectified flow and DDIM for a diffusion (both are the same step), upwards their
inversion. `ancestral` adds fresh noise at each step, as DDPM does. A method
that needs more than a guide writes its own scan of `step`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from protojax.diffusion import processes
from protojax.diffusion.processes import Estimate, Process
from protojax.types import ArrayLike

# Noisy images and times -> prediction, as the process says.
Predict = Callable[
  [Float[Array, "b h w c"], Float[Array, " b"]], Float[Array, "b h w c"]
]
# Noisy images, times, estimate, number of the step -> changed estimate.
Guide = Callable[
  [Float[Array, "b h w c"], Float[Array, " b"], Estimate, Int[Array, ""]],
  Estimate,
]
VARIANCES = ("small", "large")


def follow(
  process: Process,
  predict: Predict,
  x: Float[Array, "b h w c"],
  times: Float[ArrayLike, " n"],
  guide: Guide | None = None,
) -> Float[Array, "b h w c"]:
  """The image at the last of the times, without fresh noise.

  Args:
    process: of the network.
    predict: the network, with its parameters and conditions.
    x: images at the first of the times.
    times: `process.times(steps)`, or the same upwards, for the inversion.
    guide: changes each step's estimate, for example along a gradient.
  """

  def move(x, given):
    start, end, number = given
    return step(process, predict, x, start, end, number, guide), None

  return jax.lax.scan(move, x, _steps(times))[0]


def path(
  process: Process,
  predict: Predict,
  x: Float[Array, "b h w c"],
  times: Float[ArrayLike, " n"],
  guide: Guide | None = None,
) -> Float[Array, "n b h w c"]:
  """The images at all times that `follow` goes through, the first included."""

  def move(x, given):
    start, end, number = given
    after = step(process, predict, x, start, end, number, guide)
    return after, after

  _, after = jax.lax.scan(move, x, _steps(times))
  return jnp.concatenate([x[None], after])


def step(
  process: Process,
  predict: Predict,
  x: Float[Array, "b h w c"],
  start: Float[Array, ""],
  end: Float[Array, ""],
  number: Int[Array, ""] | int = 0,
  guide: Guide | None = None,
) -> Float[Array, "b h w c"]:
  """One step of `follow` (Song et al., 2021, equation 12 with no variance).

  The network is asked at the noisier of the two times: it has not learned what
  to do without noise, and up and down then differ by its input alone.

  Args:
    process, predict, guide: see `follow`.
    x: images at the time `start`.
    start, end: times.
    number: of the step, for the guide.
  """
  before, after = _every(x, start), _every(x, end)
  asked = jnp.maximum(before, after)
  both = _estimate(process, predict, x, before, asked, number, guide)
  return processes.noisy(process, both, after)


def ancestral(
  process: Process,
  predict: Predict,
  x: Float[Array, "b h w c"],
  times: Float[ArrayLike, " n"],
  keys: Key[Array, " b"],
  guide: Guide | None = None,
  variance: str = "small",
) -> Float[Array, "b h w c"]:
  """The image at the last of the times, with fresh noise at each step.

  Each step draws from the distribution of the image at the next time, given
  that at this time and the clean one (Ho et al., 2020, equation 7), for any two
  times (Nichol & Dhariwal, 2021, section 4).

  Args:
    process, predict, x, guide: see `follow`.
    times: `process.times(steps)`.
    keys: of each example.
    variance: "small", that of this distribution; or "large", that of the noise
      which the step adds. The last step adds none.
  """
  if variance not in VARIANCES:
    raise ValueError(f"variance {variance!r}: choose from small, large")

  def move(x, given):
    start, end, number = given
    before, after = _every(x, start), _every(x, end)
    both = _estimate(process, predict, x, before, before, number, guide)
    own = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
    return _posterior(
      process, x, both.clean, before, after, own, variance
    ), None

  return jax.lax.scan(move, x, _steps(times))[0]


def _steps(times):
  """Start, end and number of each step."""
  times = jnp.asarray(times)
  return times[:-1], times[1:], jnp.arange(len(times) - 1)


def _every(x, t):
  return jnp.full(len(x), t, jnp.float32)


def _estimate(process, predict, x, t, asked, number, guide):
  prediction = predict(x, asked)
  both = processes.estimate(process, process.prediction, x, prediction, t)
  return both if guide is None else guide(x, t, both, number)


def _posterior(process, x, clean, start, end, keys, variance):
  """A draw from q(x at end | x at start, clean)."""
  (alpha, sigma), (alpha_end, sigma_end) = (
    [s[:, None, None, None] for s in process.scales(t)] for t in (start, end)
  )
  kept = alpha / alpha_end
  added = sigma**2 - kept**2 * sigma_end**2
  mean = kept * sigma_end**2 * x + alpha_end * added * clean
  small = added * sigma_end**2 / sigma**2
  large = jnp.where(sigma_end > 0, added, 0.0)
  spread = jnp.sqrt(jnp.maximum(small if variance == "small" else large, 0))
  return mean / sigma**2 + spread * processes.normal(keys, *x.shape[1:])
