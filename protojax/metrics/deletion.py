"""Whether the hot pixels of a heat map carry the prediction.

Deletion removes the hottest pixels first and measures the probability of the
class; insertion puts them first into an image without content (RISE, Petsiuk et
al., BMVC 2018). For a map that shows what matters the area under the curve is
low with deletion and high with insertion. The relevance drop changes the hot
pixels of an image, or all others, and measures how much similarity is lost
(CaBRNet's local perturbation analysis, after Nauta et al., 2021).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Num
import numpy as np

from protojax.metrics.means import ratio
from protojax.types import Array, ArrayLike

Images = Num[ArrayLike, "b H W c"]
# Images -> probabilities of the classes.
Predict = Callable[[Num[Array, "n H W c"]], Float[ArrayLike, "n k"]]
# ST-ProtoPNet's code removes all pixels of 224 x 224 in so many steps.
STEPS = 28
# RISE's 5 pixels of 224.
BLUR = 5 / 224


def order(maps: Float[ArrayLike, "b H W"]) -> Int[Array, "b H W"]:
  """Place of each pixel from the hottest, 0, to the coldest.

  Equally hot pixels follow one another row by row.
  """
  flat = jnp.asarray(maps).reshape(len(maps), -1)
  coldest_last = jnp.argsort(-flat, axis=1, stable=True)
  return jnp.argsort(coldest_last, axis=1).reshape(maps.shape)


def deletion(
  predict: Predict,
  images: Images,
  maps: Float[ArrayLike, "b H W"],
  classes: Int[ArrayLike, " b"],
  fill: Images,
  steps: int = STEPS,
) -> Float[Array, "b s"]:
  """Probability of a class at steps + 1 points, the hottest pixels removed.

  Args:
    predict: called once, with all b (steps + 1) copies.
    images: nothing is removed at the first point.
    maps: heat of the class.
    classes: the class of each image whose probability is measured.
    fill: replaces removed pixels, such as by a mean colour.
    steps: each removes equally many pixels; at the last point all are gone.
  """
  count = _counts(maps, steps)
  gone = order(maps)[:, None] < count[None, :, None, None]
  return _watched(predict, gone, fill, images, classes)


def insertion(
  predict: Predict,
  images: Images,
  maps: Float[ArrayLike, "b H W"],
  classes: Int[ArrayLike, " b"],
  fill: Images,
  steps: int = STEPS,
) -> Float[Array, "b s"]:
  """The same, with the hottest pixels put into `fill` first.

  In the paper `fill` is the image `blurred`, which has no edges of its own.
  """
  count = _counts(maps, steps)
  there = order(maps)[:, None] < count[None, :, None, None]
  return _watched(predict, there, images, fill, classes)


def area(curves: Float[ArrayLike, "b s"]) -> Float[Array, " b"]:
  """Mean height of each curve, linear between its points."""
  ends = (curves[:, 0] + curves[:, -1]) / 2
  return (jnp.sum(curves, axis=1) - ends) / (curves.shape[1] - 1)


def blurred(images: Images, deviation: float = BLUR) -> Float[Array, "b H W c"]:
  """Images without content: blurred by a Gaussian.

  Args:
    images: of any range.
    deviation: of the Gaussian, as a share of a side; at the edges the weights
      inside the image are scaled to the sum 1.
  """
  rows, columns = (_gaussian(n, deviation) for n in images.shape[1:3])
  precise = jax.lax.Precision.HIGHEST
  pixels = jnp.asarray(images, jnp.float32)
  return jnp.einsum(
    "Hh,bhwc,Ww->bHWc", rows, pixels, columns, precision=precise
  )


def blended(
  images: Images, modified: Images, maps: Float[ArrayLike, "b H W"]
) -> Float[Array, "b H W c"]:
  """maps * modified + (1 - maps) * images, for maps of 0..1.

  With the map of a prototype this is CaBRNet's focused perturbation, with its
  complement 1 - maps the dual one.
  """
  share = jnp.asarray(maps)[..., None]
  return share * modified + (1 - share) * images


def relative_drop(
  before: Float[ArrayLike, "*n"], after: Float[ArrayLike, "*n"]
) -> Float[Array, "*n"]:
  """Share of a similarity that is lost; nan if it was not above 0."""
  return ratio(before - after, before)


def _gaussian(size: int, deviation: float) -> Float[np.ndarray, "n n"]:
  """Weights along one axis: a row for each pixel of the blurred image."""
  far = np.subtract.outer(np.arange(size), np.arange(size)) / size
  weights = np.exp(-((far / deviation) ** 2) / 2)
  return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _counts(maps: ArrayLike, steps: int) -> Int[Array, " s"]:
  """Number of pixels taken at each point: equal steps, but for rounding."""
  pixels = maps.shape[1] * maps.shape[2]
  return jnp.round(jnp.linspace(0, pixels, steps + 1)).astype(jnp.int32)


def _watched(
  predict: Predict,
  chosen: Array,
  new: Images,
  old: Images,
  classes: Int[ArrayLike, " b"],
) -> Float[Array, "b s"]:
  """Probability of each image's class with the chosen pixels replaced."""
  new, old = (jnp.asarray(x)[:, None] for x in (new, old))
  copies = jnp.where(chosen[..., None], new, old)
  flat = copies.reshape(-1, *copies.shape[2:])
  probabilities = jnp.asarray(predict(flat)).reshape(*chosen.shape[:2], -1)
  asked = jnp.asarray(classes)[:, None, None]
  return jnp.take_along_axis(probabilities, asked, axis=2)[..., 0]
