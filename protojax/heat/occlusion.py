"""Occlusion: how much of a score is lost behind a square (Zeiler and Fergus).

Needs no gradient, so that the scores may be any function. `attribution` calls
it for the similarities of prototypes, `heatmap` for a function of the user's.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from protojax.heat.gradients import Scores
from protojax.types import Array, ArrayLike

# Images that go through the network at once.
_AT_ONCE = 32
# Squares along a side, where no size is given, but for the overlap of half.
_SQUARES = 8


def occlusion(
  scores: Scores,
  images: Num[ArrayLike, "b H W c"],
  window: int | None = None,
  stride: int | None = None,
  baseline: float | Num[ArrayLike, "*b H W c"] = 0.0,
) -> Float[Array, "b q H W"]:
  """Mean loss of each score over the squares that cover a pixel.

  Zeiler and Fergus (ECCV 2014) show the score for each place of the square;
  the loss is spread over the pixels of the square as in Captum's `Occlusion`.

  Args:
    scores: of images.
    images: the images to explain.
    window: side of the square in pixels; an eighth of the shorter side if None.
    stride: pixels from one square to the next; half the window if None. The
      last square of a row or column may reach over the edge.
    baseline: what the square shows, a number, an image or an image for each.

  Returns:
    What the score loses; negative where it rises.
  """
  images = jnp.asarray(images, jnp.float32)
  b, height, width, _ = images.shape
  window = window or max(1, min(height, width) // _SQUARES)
  stride = stride or max(1, window // 2)
  empty = jnp.broadcast_to(jnp.asarray(baseline, jnp.float32), images.shape)
  rows, columns = (_places(side, window, stride) for side in (height, width))
  before = scores(images)

  def covered(place: Int[Array, ""]) -> Bool[Array, "H W"]:
    top, left = stride * (place // columns), stride * (place % columns)
    y, x = jnp.arange(height)[:, None], jnp.arange(width)[None]
    inside = (y >= top) & (y < top + window)
    return inside & (x >= left) & (x < left + window)

  def lost(places: Int[Array, " n"]) -> Float[Array, "b q H W"]:
    known = places < rows * columns
    masks = jax.vmap(covered)(places) & known[:, None, None]
    hidden = masks[:, None, :, :, None]
    copies = jnp.where(hidden, empty[None], images[None])
    after = scores(copies.reshape(-1, *images.shape[1:]))
    fall = before[None] - after.reshape(len(places), *before.shape)
    return jnp.einsum(
      "nbq,nHW->bqHW", fall, masks.astype(fall.dtype), precision="highest"
    )

  some = min(max(1, _AT_ONCE // b), rows * columns)
  count = math.ceil(rows * columns / some)
  places = jnp.arange(count * some).reshape(count, some)
  total = jax.lax.fori_loop(
    0,
    count,
    lambda i, total: total + lost(places[i]),
    jnp.zeros((*before.shape, height, width)),
  )
  counts = (_cover(n, window, stride) for n in (height, width))
  down, across = counts
  # A stride above the window leaves pixels that no square covers: 0.
  times = jnp.maximum(down[:, None] * across[None], 1)
  return total / times[None, None]


def _places(side: int, window: int, stride: int) -> int:
  """Squares along a side."""
  return math.ceil(max(side - window, 0) / stride) + 1


def _cover(side: int, window: int, stride: int) -> Float[Array, " n"]:
  """How many squares cover each pixel of a side."""
  starts = stride * jnp.arange(_places(side, window, stride))[:, None]
  pixel = jnp.arange(side)[None]
  inside = (pixel >= starts) & (pixel < starts + window)
  return jnp.sum(inside, axis=0).astype(jnp.float32)
