"""What a noisy image alone tells of a prediction, so that a network need not.

Karras et al. (2022), section 5, for any kind of prediction: of all linear
guesses of the target from the noisy image the best one is added to the output,
and the output is scaled to what that leaves. A network with few channels is
then free of carrying the noise from its input to its output.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.diffusion import processes
from protojax.diffusion.processes import Estimate, Process


class Linear(NamedTuple):
  """The best linear guess, by example.

  Attributes:
    factor: of the noisy image.
    spread: root of the mean square of what the guess leaves.
  """

  factor: Float[Array, "b 1 1 1"]
  spread: Float[Array, "b 1 1 1"]


def linear(process: Process, t: Float[Array, " b"], variance: float) -> Linear:
  """The guess of what a process predicts.

  With x = alpha clean + sigma noise and target = p clean + q noise, for clean
  images of variance s^2 and noise of variance 1:

    factor   = (alpha p s^2 + sigma q) / (alpha^2 s^2 + sigma^2)
    spread^2 = s^2 (p sigma - q alpha)^2 / (alpha^2 s^2 + sigma^2)

  Args:
    process: of the network.
    t: times.
    variance: s^2, above 0.
  """
  one, nothing = (f((len(t), 1, 1, 1)) for f in (jnp.ones, jnp.zeros))

  def part(clean: Array, noise: Array, kind: str | None) -> Array:
    both = Estimate(clean, noise)
    if kind is None:
      return processes.noisy(process, both, t)
    return processes.predicted(process, kind, both, t)

  kind = process.prediction
  alpha, sigma = part(one, nothing, None), part(nothing, one, None)
  p, q = part(one, nothing, kind), part(nothing, one, kind)
  whole = alpha**2 * variance + sigma**2
  return Linear(
    (alpha * p * variance + sigma * q) / whole,
    jnp.sqrt(variance / whole) * jnp.abs(p * sigma - q * alpha),
  )


def conditioned(
  process: Process,
  x: Float[Array, "b h w c"],
  t: Float[Array, " b"],
  output: Float[Array, "b h w c"],
  variance: float,
) -> Float[Array, "b h w c"]:
  """The prediction of a network's output; with a variance of 0 the output.

  Args:
    process: of the network.
    x: noisy images at the times `t`.
    t: times.
    output: of the network.
    variance: of clean images.
  """
  if not variance:
    return output
  guess = linear(process, t, variance)
  return guess.factor * x + guess.spread * output
