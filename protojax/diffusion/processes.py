"""How images become noise, and what a network predicts of it.

At time t an image is `alpha clean + sigma noise`. A process gives alpha and
sigma: `Flow` is the straight line of rectified flow, `Diffusion` the steps of
DDPM, `LogSnr` the cosine schedule in continuous time. Every kind of prediction
is a combination of clean image and noise, so that one formula turns each into
every other. Times are of the order of 1000.
"""

import abc
import dataclasses
import functools
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
import numpy as np

from protojax import parallel
from protojax.types import ArrayLike, UserError

KINDS = ("noise", "v", "velocity", "clean")
SCHEDULES = ("linear", "cosine", "scaled")
_LONGEST = 1000.0
_NOISIEST = 999.0
# Of a step, the share of noise at most (Nichol & Dhariwal 2021).
_MOST = 0.999


@runtime_checkable
class Process(Protocol):
  """From clean images to noise."""

  @property
  def prediction(self) -> str:
    """What the network predicts, one of `KINDS`.

    The noise; v = alpha noise - sigma clean (Salimans & Ho, 2022); velocity =
    noise - clean; or the clean image.
    """
    ...

  def scales(
    self, t: Float[ArrayLike, " b"]
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Alpha, of the clean image, and sigma, of the noise."""
    ...

  def draw(self, keys: Key[Array, " b"]) -> Float[Array, " b"]:
    """Times to train on."""
    ...

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """Times of a sampler, from noise down to the time without noise."""
    ...


@dataclasses.dataclass(frozen=True)
class Flow:
  """Rectified flow: sigma = t / 1000, alpha = 1 - sigma (Liu et al., 2023).

  Attributes:
    prediction: "velocity" or "v"; see `Process`. One of the noise would not
      tell what to do where there is nothing else.
    mean: of the normal variable whose sigmoid is sigma in training (Esser et
      al., 2024).
    deviation: of the same.
    shift: of a sampler's times towards noise; 1: none.
  """

  prediction: str = "velocity"
  mean: float = 0.0
  deviation: float = 1.0
  shift: float = 1.0

  def __post_init__(self) -> None:
    _require(self.prediction, KINDS[1:3], "prediction of a flow")

  def scales(
    self, t: Float[ArrayLike, " b"]
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """1 - t / 1000 and t / 1000."""
    sigma = jnp.asarray(t) / _LONGEST
    return 1 - sigma, sigma

  def draw(self, keys: Key[Array, " b"]) -> Float[Array, " b"]:
    """Logit-normal times; they are not whole."""
    normal = jax.vmap(jax.random.normal)(keys)
    return _LONGEST * jax.nn.sigmoid(self.mean + self.deviation * normal)

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """From 1000 to 0 in equal steps of sigma, then shifted."""
    sigma = 1 - np.arange(_positive(steps) + 1) / steps
    sigma = self.shift * sigma / (1 + (self.shift - 1) * sigma)
    return (_LONGEST * sigma).astype(np.float32)


class WholeTimes(abc.ABC):
  """A process of whole times: 0 and more are noisy, and -1 is clean."""

  @property
  @abc.abstractmethod
  def table(self) -> Float[np.ndarray, "2 times"]:
    """Alpha and sigma by time, from that of -1."""

  def scales(
    self, t: Float[ArrayLike, " b"]
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Square roots of the product of (1 - share of noise), and of the rest."""
    signal, noise = jnp.asarray(self.table, jnp.float32)
    at = jnp.round(jnp.asarray(t)).astype(jnp.int32) + 1
    return signal[at], noise[at]

  def draw(self, keys: Key[Array, " b"]) -> Float[Array, " b"]:
    """Whole times, all alike."""

    def one(key):
      return jax.random.randint(key, (), 0, self.table.shape[1] - 1)

    return jax.vmap(one)(keys).astype(jnp.float32)


def table(shares: Float[np.ndarray, " n"]) -> Float[np.ndarray, "2 n+1"]:
  """Alpha and sigma from that without noise, of the share of each step."""
  kept = np.cumprod(np.concatenate([[1], 1 - shares]))
  return np.sqrt(np.stack([kept, 1 - kept]))


@dataclasses.dataclass(frozen=True)
class Diffusion(WholeTimes):
  """DDPM's steps: sigma^2 = 1 - alpha^2, by a schedule (Ho et al., 2020).

  Attributes:
    prediction: see `Process`.
    schedule: of the share of noise in a step: "linear" (DDPM, DiT), "cosine"
      (Nichol & Dhariwal, 2021), or "scaled": linear in its square root (Stable
      Diffusion).
    steps: number of noisy times.
  """

  prediction: str = "noise"
  schedule: str = "linear"
  steps: int = 1000

  def __post_init__(self) -> None:
    _require(self.prediction, KINDS[:3], "prediction")
    _require(self.schedule, SCHEDULES, "schedule")

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """From the last time to 0, evenly spread and rounded, and then -1.

    Raises:
      UserError: there are not so many times.
    """
    if _positive(steps) > self.steps:
      raise UserError(
        f"{steps} steps of a sampler; the process has {self.steps} times: take"
        " that many or fewer"
      )
    spread = np.linspace(self.steps - 1, 0, steps).round()
    return np.append(spread, -1).astype(np.float32)

  @functools.cached_property
  def table(self) -> Float[np.ndarray, "2 times"]:
    """See `WholeTimes`."""
    return table(self._shares())

  def _shares(self) -> np.ndarray:
    """The share of noise in each step, beta."""
    count = self.steps
    if self.schedule == "linear":
      return np.linspace(1e-4, 0.02, count) * (1000 / count)
    if self.schedule == "scaled":
      return np.linspace(0.00085**0.5, 0.012**0.5, count) ** 2
    at = (np.arange(count + 1) / count + 0.008) / 1.008
    kept = np.cos(at * np.pi / 2) ** 2
    return np.minimum(1 - kept[1:] / kept[:-1], _MOST)


@dataclasses.dataclass(frozen=True)
class LogSnr:
  """The cosine schedule by the logarithm of its signal-to-noise ratio.

  log-SNR(t) = -log(cos(u)^-2 - 1) with u = (t/1000 + 0.0002) / 1.00025 pi/2, as
  in DDP (Ji et al., 2023, 2303.17559), so that alpha = cos u and sigma = sin u.
  There is some noise at 0 and some signal at 1000.

  Attributes:
    prediction: see `Process`.
    least: the earliest time to train on.
  """

  prediction: str = "clean"
  least: float = 0.0

  def __post_init__(self) -> None:
    _require(self.prediction, KINDS, "prediction")

  def scales(
    self, t: Float[ArrayLike, " b"]
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Cosine and sine of the angle."""
    angle = (jnp.asarray(t) / _LONGEST + 0.0002) / 1.00025 * jnp.pi / 2
    return jnp.cos(angle), jnp.sin(angle)

  def log_snr(self, t: Float[ArrayLike, " b"]) -> Float[Array, " b"]:
    """2 log(alpha / sigma): 16 at 0, -13 at 999."""
    alpha, sigma = self.scales(t)
    return 2 * (jnp.log(alpha) - jnp.log(sigma))

  def draw(self, keys: Key[Array, " b"]) -> Float[Array, " b"]:
    """Times between the earliest and 999, all alike; they are not whole."""

    def one(key):
      return jax.random.uniform(key, (), minval=self.least, maxval=_NOISIEST)

    return jax.vmap(one)(keys)

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """From 999 to 0 in equal steps."""
    spread = np.linspace(_NOISIEST, 0, _positive(steps) + 1)
    return spread.astype(np.float32)


def grid(process: Process, count: int) -> Float[np.ndarray, " g"]:
  """Times that a loss is evaluated at: even quantiles of those of training.

  Args:
    process: of the network.
    count: number of times.
  """
  at = (np.arange(count) + 0.5) / count
  if isinstance(process, Flow):
    from scipy import special  # Here: every command would import it.

    sigma = special.expit(process.mean + process.deviation * special.ndtri(at))
    return (_LONGEST * sigma).astype(np.float32)
  if isinstance(process, Diffusion):
    return np.floor(at * process.steps).astype(np.float32)
  raise ValueError(f"no grid of times for {type(process).__name__}")


class Estimate(NamedTuple):
  """What a noisy image is thought to be made of.

  Attributes:
    clean: the image.
    noise: of variance 1.
  """

  clean: Float[Array, "b h w c"]
  noise: Float[Array, "b h w c"]


class Noised(NamedTuple):
  """Examples to train on.

  Attributes:
    x: noisy images.
    t: their times.
    target: what the network is to predict.
  """

  x: Float[Array, "b h w c"]
  t: Float[Array, " b"]
  target: Float[Array, "b h w c"]


def noised(
  process: Process, clean: Float[Array, "b h w c"], keys: Key[Array, " b"]
) -> Noised:
  """Draws a time and noise for each image.

  Args:
    process: of the network.
    clean: images or latents, of a variance of about 1.
    keys: of each example (`parallel.example_keys`), so that its draw does not
      depend on its device.
  """
  for_time, for_noise = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  t = process.draw(for_time)
  noise = normal(for_noise, *clean.shape[1:])
  both = Estimate(clean, noise)
  return Noised(
    noisy(process, both, t), t, predicted(process, process.prediction, both, t)
  )


def fixed(
  process: Process,
  clean: Float[Array, "b h w c"],
  index: Int[Array, " b"],
  t: Float[ArrayLike, ""],
  number: Int[ArrayLike, ""],
) -> Noised:
  """Examples with noise that is always the same, to evaluate on.

  Args:
    process: of the network.
    clean: images or latents.
    index: of the examples.
    t: one time for all of them.
    number: of the noise; an example has its own for each number.
  """
  key = jax.random.fold_in(parallel.key(0), number)
  keys = parallel.example_keys(key, index)
  both = Estimate(clean, normal(keys, *clean.shape[1:]))
  times = jnp.full(len(clean), t, jnp.float32)
  target = predicted(process, process.prediction, both, times)
  return Noised(noisy(process, both, times), times, target)


def normal(keys: Key[Array, " b"], *shape: int) -> Float[Array, "b h w c"]:
  """Noise of variance 1 of that shape, for each example by its own key."""
  return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


def squared_error(
  prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"]
) -> Float[Array, " b"]:
  """Mean over pixels and channels of the squared error of each example."""
  return jnp.mean((prediction - target) ** 2, axis=(1, 2, 3))


def noisy(
  process: Process, both: Estimate, t: Float[Array, " b"]
) -> Float[Array, "b h w c"]:
  """The noisy image at a time: alpha clean + sigma noise."""
  alpha, sigma = _by_example(process.scales(t))
  return alpha * both.clean + sigma * both.noise


def predicted(
  process: Process, kind: str, both: Estimate, t: Float[Array, " b"]
) -> Float[Array, "b h w c"]:
  """What a perfect network of some kind predicts at a time."""
  of_clean, of_noise = _parts(kind, *_by_example(process.scales(t)))
  return of_clean * both.clean + of_noise * both.noise


def estimate(
  process: Process,
  kind: str,
  x: Float[Array, "b h w c"],
  prediction: Float[Array, "b h w c"],
  t: Float[Array, " b"],
) -> Estimate:
  """Clean image and noise that a noisy image and a prediction stand for.

  Solves x = alpha clean + sigma noise, prediction = p clean + q noise. Where
  alpha is 0, a prediction of the noise does not tell the clean image, and where
  sigma is 0, that of the clean image does not tell the noise.

  Args:
    process: of the network.
    kind: of the prediction, one of `KINDS`.
    x: noisy images at the times `t`.
    prediction: of the network.
    t: times.
  """
  alpha, sigma = _by_example(process.scales(t))
  of_clean, of_noise = _parts(kind, alpha, sigma)
  determinant = alpha * of_noise - sigma * of_clean
  return Estimate(
    (of_noise * x - sigma * prediction) / determinant,
    (alpha * prediction - of_clean * x) / determinant,
  )


def _parts(kind, alpha, sigma):
  """Factors of clean image and noise in a prediction."""
  _require(kind, KINDS, "prediction")
  one, nothing = jnp.ones_like(alpha), jnp.zeros_like(alpha)
  return {
    "noise": (nothing, one),
    "v": (-sigma, alpha),
    "velocity": (-one, one),
    "clean": (one, nothing),
  }[kind]


def _by_example(values: tuple[Array, ...]) -> tuple[Array, ...]:
  return tuple(x[:, None, None, None] for x in values)


def _require(found: str, known: tuple[str, ...], what: str) -> None:
  if found not in known:
    raise UserError(f"{what} {found!r}: choose from {', '.join(known)}")


def _positive(steps: int) -> int:
  if steps < 1:
    raise UserError(f"{steps} steps of a sampler: take 1 or more")
  return steps
