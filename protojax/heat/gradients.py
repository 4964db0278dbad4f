"""Heat maps from gradients, of any differentiable scores of images.

`attribution` calls them for the similarities of prototypes, `heatmap` for a
function of the user's. Each makes a backward pass for each of q scores, and
`at_once` of these run together.

  saliency              size of the gradient at each pixel
  smoothgrad            the same for the mean gradient over noisy copies
  integrated_gradients  share of each pixel in the score's rise from a baseline
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num
import numpy as np

from protojax.types import Array, ArrayLike

# Images [b H W c] -> scores [b q]. Or n copies of all images, one copy after
# the other, [n b H W c] with n and b joined -> scores [n b q], joined alike.
Scores = Callable[[Array], Array]

# Prototypes that a report lists for an image.
AT_ONCE = 10
# Copies, of all images together, that go through the network at once. With 16
# copies for 10 prototypes, ResNet-18 at 224 pixels needs 2 GB. On CPU a loop
# over four copies takes 1.3 times as long, over single copies 6 times.
_COPIES_AT_ONCE = 16


def saliency(
  scores: Scores, images: Num[ArrayLike, "b H W c"], at_once: int = AT_ONCE
) -> Float[Array, "b q H W"]:
  """Size of the gradient of each score (Simonyan et al., 2014, section 3.1).

  The largest over the channels. Its unit is the score's per unit of a pixel.
  """
  return _size(gradient(scores, images, at_once))


def smoothgrad(
  scores: Scores,
  images: Num[ArrayLike, "b H W c"],
  key: Array,
  index: Int[ArrayLike, " b"],
  noise: float,
  copies: int = 16,
  at_once: int = AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Saliency of the mean gradient over noisy copies (Smilkov et al., 2017).

  Equation 1 averages the gradients with their signs; the size is that of the
  mean.

  Args:
    scores: differentiable.
    images: the images to explain.
    key: of the noise.
    index: position of each image in its source, folded into the key.
    noise: standard deviation of the noise, in units of pixels.
    copies: n, noisy copies of each image; one forward pass for each.
    at_once: backward passes in one.
  """
  images = jnp.asarray(images, jnp.float32)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(index))

  def noisy(i: Array) -> Float[Array, "b H W c"]:
    own = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
    draw = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))
    return images + noise * draw(own)

  equal = jnp.full(copies, 1 / copies)
  return _size(_mean(scores, noisy, equal, len(images), at_once))


def integrated_gradients(
  scores: Scores,
  images: Num[ArrayLike, "b H W c"],
  baseline: float | Num[ArrayLike, "*b H W c"] = 0.0,
  steps: int = 50,
  at_once: int = AT_ONCE,
) -> Float[Array, "b q H W"]:
  """Share of each pixel in each score (Sundararajan et al., ICML 2017).

  Equation 1: (x - x') times the mean gradient on the straight line from the
  baseline x' to the image x, summed over the channels. The mean is taken by
  Gauss-Legendre quadrature, as in Captum. A map sums up to score(x) -
  score(x') as far as the quadrature is exact (their Proposition 1).

  Args:
    scores: differentiable.
    images: the images to explain.
    baseline: x', a number, an image or an image for each; black by default.
    steps: points of the quadrature; one forward pass for each.
    at_once: backward passes in one.
  """
  images = jnp.asarray(images, jnp.float32)
  start = jnp.broadcast_to(jnp.asarray(baseline, jnp.float32), images.shape)
  points, weights = np.polynomial.legendre.leggauss(steps)
  shares = jnp.asarray((points + 1) / 2, jnp.float32)

  def between(i: Array) -> Float[Array, "b H W c"]:
    return start + shares[i] * (images - start)

  weights = jnp.asarray(weights / 2, jnp.float32)
  mean = _mean(scores, between, weights, len(images), at_once)
  return jnp.sum(mean * (images - start)[:, None], axis=-1)


def gradient(
  scores: Scores, images: Num[ArrayLike, "b H W c"], at_once: int = AT_ONCE
) -> Float[Array, "b q H W c"]:
  """The gradient of each score at each pixel."""
  values, pull = jax.vjp(scores, jnp.asarray(images, jnp.float32))
  return each(lambda asked: pull(asked)[0], values, at_once)


def each(
  one: Callable[[Array], Array], values: Float[Array, "b q"], at_once: int
) -> Float[Array, "b q *n"]:
  """`one` of the cotangents [b q] that ask for one score of each image."""
  rows = jnp.eye(values.shape[1], dtype=values.dtype)

  def asked(row: Array) -> Array:
    return one(jnp.broadcast_to(row[None], values.shape))

  # On CPU, XLA runs convolutions in a loop at a third of their speed.
  if len(rows) <= at_once:
    found = jax.vmap(asked)(rows)
  else:
    found = jax.lax.map(asked, rows, batch_size=at_once)
  return jnp.moveaxis(found, 0, 1)


def _mean(
  scores: Scores,
  copy: Callable[[Array], Array],
  weights: Float[Array, " n"],
  images: int,
  at_once: int,
) -> Float[Array, "b q H W c"]:
  """Weighted mean of the gradients at n copies of all images."""
  count = len(weights)
  some = max(n for n in range(1, count + 1) if _fits(n, count, images))

  def total_of(numbers: Int[Array, " n"]) -> Float[Array, "b q H W c"]:
    seen = jax.vmap(copy)(numbers)
    found = gradient(scores, seen.reshape(-1, *seen.shape[2:]), at_once)
    found = found.reshape(some, images, *found.shape[1:])
    return jnp.tensordot(weights[numbers], found, 1, precision="highest")

  numbers = jnp.arange(count).reshape(-1, some)
  if len(numbers) == 1:
    return total_of(numbers[0])
  shape = jax.eval_shape(total_of, numbers[0]).shape
  return jax.lax.fori_loop(
    0,
    len(numbers),
    lambda i, total: total + total_of(numbers[i]),
    jnp.zeros(shape),
  )


def _fits(some: int, copies: int, images: int) -> bool:
  """Whether `some` copies of each image go through the network at once."""
  few = some == 1 or some * images <= _COPIES_AT_ONCE
  return few and copies % some == 0


def _size(gradients: Float[Array, "*n H W c"]) -> Float[Array, "*n H W"]:
  return jnp.max(jnp.abs(gradients), axis=-1)
