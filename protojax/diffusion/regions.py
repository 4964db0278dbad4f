"""Where objects are among the tokens and cells of an image that is steered.

DriveGEN (2503.11122; the rules are those of its code). Corners of boxes become
whole numbers on the host, in float64, by rules that must be met exactly; maps
are made of them on the device. A box is top, left, bottom, right; bottom and
right are the first row and column behind it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num
import numpy as np

from protojax.diffusion import self_prototypes
from protojax.types import ArrayLike

# Which tokens are steered: by attention to the words and by layout, one of
# them, those in boxes, or all.
KINDS = ("both", "cross", "layout", "inside", "none")
_NOTHING = 1e-7


class Objects(NamedTuple):
  """Boxes of b images, padded to n each; k categories of all images.

  Attributes:
    places: on the grid of tokens; see `on_grid`.
    cells: of the noisy image; see `in_cells`.
    category: of each box, 0 to k - 1.
    valid: False for padding.
    words: which of the w tokens of an image's text name a category; none for a
      category that the image lacks.
  """

  places: Int[ArrayLike, "b n 4"]
  cells: Int[ArrayLike, "b n 4"]
  category: Int[ArrayLike, "b n"]
  valid: Bool[ArrayLike, "b n"]
  words: Bool[ArrayLike, "b k w"]


# On the host.


def rescaled(
  boxes: Num[np.ndarray, "n 4"], size: tuple[int, int], to: tuple[int, int]
) -> Int[np.ndarray, "n 4"]:
  """Boxes in the pixels of an image that was resized; fractions are cut off.

  Args:
    boxes: in pixels of the image as it was.
    size: its height and width.
    to: those that it has now.
  """
  factors = np.array([to[0] / size[0], to[1] / size[1]] * 2)
  return np.trunc(boxes * factors).astype(np.int64)


def on_grid(
  boxes: Num[np.ndarray, "n 4"], size: tuple[int, int], grid: tuple[int, int]
) -> Int[np.ndarray, "n 4"]:
  """Boxes on the grid of tokens, rounded (halves to even).

  One that is flat is made a token larger on each side, as far as the grid goes;
  one that still is flat holds no token.

  Args:
    boxes: in pixels.
    size: height and width of the image.
    grid: rows and columns of tokens.
  """
  factors = np.array([grid[0] / size[0], grid[1] / size[1]] * 2)
  found = np.round(boxes * factors).astype(np.int64)
  low, high = found[:, :2], found[:, 2:]
  flat = low == high
  last = np.array(grid) - 1
  return np.concatenate(
    [
      np.where(flat, np.maximum(low - 1, 0), low),
      np.where(flat, np.minimum(high + 1, last), high),
    ],
    axis=1,
  )


def in_cells(
  boxes: Num[np.ndarray, "n 4"],
  stride: int,
  size: tuple[int, int],
  enlarged: float,
) -> Int[np.ndarray, "n 4"]:
  """Boxes in cells of the noisy image, made larger on each side.

  Args:
    boxes: in pixels.
    stride: pixels on a side of a cell.
    size: height and width of the noisy image, in cells.
    enlarged: by this share of a box's own height and width; fractions of a cell
      are cut off.
  """
  found = np.trunc(boxes / stride)
  low, high = found[:, :2], found[:, 2:]
  more = (high - low) * enlarged
  low = np.maximum(np.trunc(low - more), 0)
  high = np.minimum(np.trunc(high + more), np.array(size))
  return np.concatenate([low, high], axis=1).astype(np.int64)


def padded(
  places: Sequence[Int[np.ndarray, "_ 4"]],
  cells: Sequence[Int[np.ndarray, "_ 4"]],
  category: Sequence[Int[np.ndarray, " _"]],
  words: Bool[np.ndarray, "b k w"],
  most: int,
) -> Objects:
  """Boxes of images, each padded to the same number.

  Args:
    places, cells, category: of each image.
    words: see `Objects`.
    most: boxes that are made room for; no image has more.
  """
  counts = np.array([len(c) for c in category])

  def stack(rows, *shape):
    found = np.zeros((len(rows), most, *shape), np.int32)
    for i, row in enumerate(rows):
      found[i, : len(row)] = row
    return found

  return Objects(
    stack(places, 4),
    stack(cells, 4),
    stack(category),
    np.arange(most) < counts[:, None],
    words,
  )


# On the device.


def inside(
  boxes: Int[ArrayLike, "b n 4"], size: tuple[int, int]
) -> Bool[Array, "b n h w"]:
  """Whether each token or cell is in each box."""
  y, x = (jnp.arange(n)[None, None] for n in size)
  top, left, bottom, right = jnp.moveaxis(jnp.asarray(boxes), -1, 0)[..., None]
  rows = (y >= top) & (y < bottom)
  columns = (x >= left) & (x < right)
  return rows[..., :, None] & columns[..., None, :]


def layout(
  objects: Objects, grid: tuple[int, int], spread: float
) -> Float[Array, "b l"]:
  """A hill in each box, 1 at its highest, summed over the categories.

  A box has the hill exp(-d^2 / (2 spread^2)), where d is the distance to its
  middle and its first and last token are 1 apart. Hills of one category are
  added, and their sum is scaled from 0 to 1.

  Args:
    objects: of b images.
    grid: rows and columns of tokens.
    spread: of a hill, in sides of its box.
  """
  low, high = jnp.split(jnp.asarray(objects.places), 2, axis=-1)
  # Of one row, the first is the last.
  length = jnp.maximum(high - low - 1, 1)[..., None]
  rows, columns = (
    (_at(n, low[..., axis]) / length[..., axis, :] - 0.5) ** 2
    for axis, n in enumerate(grid)
  )
  hills = jnp.exp(
    -(rows[..., :, None] + columns[..., None, :]) / (2 * spread**2)
  )
  there = inside(objects.places, grid) & objects.valid[..., None, None]
  hills = jnp.where(there, hills, 0.0)
  of = _of_category(objects)
  sums = jnp.einsum("bnk,bnhw->bkhw", of, hills).reshape(*of.shape[::2], -1)
  least = jnp.min(sums, axis=-1, keepdims=True)
  span = jnp.max(sums, axis=-1, keepdims=True) - least
  even = jnp.where(
    span > _NOTHING, (sums - least) / jnp.maximum(span, _NOTHING), sums
  )
  return jnp.sum(even, axis=1)


def attended(
  words: Float[Array, "b l w"], objects: Objects
) -> Float[Array, "b l"]:
  """How much tokens look at the words of the objects, mean over categories.

  Args:
    words: how much each token looks at each word.
    objects: whose words.
  """
  named = jnp.asarray(objects.words, jnp.float32)
  looked = jnp.einsum("blw,bkw->blk", words, named)
  there = jnp.any(jnp.asarray(objects.words), axis=-1)
  even = jnp.where(there[:, None], self_prototypes.scaled(looked), 0.0)
  return (
    jnp.sum(even, axis=-1) / jnp.maximum(jnp.sum(there, axis=-1), 1)[:, None]
  )


def region(
  kind: str,
  words: Float[Array, "b l w"],
  objects: Objects,
  hills: Float[Array, "b l"],
  grid: tuple[int, int],
  threshold: float,
) -> Bool[Array, "b l"]:
  """The tokens that are steered.

  Args:
    kind: one of `KINDS`.
    words: how much each token looked at each word, until now.
    objects: of the images.
    hills: of `layout`.
    grid: rows and columns of tokens.
    threshold: above which attention and hills together count.
  """
  if kind == "none":
    return jnp.ones(hills.shape, bool)
  if kind == "inside":
    there = inside(objects.places, grid) & objects.valid[..., None, None]
    return jnp.any(there, axis=1).reshape(hills.shape)
  score = jnp.zeros_like(hills)
  if kind in ("both", "cross"):
    score = score + attended(words, objects)
  if kind in ("both", "layout"):
    score = score + hills
  return score > threshold


def pull(
  objects: Objects, size: tuple[int, int], channels: int, most: float
) -> Float[Array, "b h w 1"]:
  """Half the factor of (x - example) in the gradient of `shallow_loss`.

  Args:
    objects: of the images; a box without a cell does not count.
    size: height and width of the noisy image.
    channels: of it.
    most: weight of a box, which is the image's area over its own.
  """
  there = inside(objects.cells, size) & objects.valid[..., None, None]
  area = jnp.sum(there, axis=(2, 3), keepdims=True)
  weight = jnp.minimum(size[0] * size[1] / (area + 1e-5), most)
  share = weight / jnp.maximum(channels * area, 1)
  return jnp.sum(jnp.where(there, share, 0.0), axis=1)[..., None]


def shallow_loss(
  x: Float[Array, "b h w c"],
  example: Float[Array, "b h w c"],
  factor: Float[Array, "b h w 1"],
) -> Float[Array, " b"]:
  """Squared difference to the example in boxes, weighted and summed.

  Each box counts by its mean, times its weight.

  Args:
    x, example: noisy images.
    factor: of `pull`.
  """
  return jnp.sum(factor * (x - example) ** 2, axis=(1, 2, 3))


def _at(count, low):
  """Distances of tokens from the first one of each box, [b n count]."""
  return jnp.arange(count)[None, None] - low[..., None]


def _of_category(objects):
  """Whether a box is of a category, as numbers [b n k]."""
  count = objects.words.shape[1]
  numbers = jnp.arange(count)[None, None]
  same = jnp.asarray(objects.category)[..., None] == numbers
  return (same & objects.valid[..., None]).astype(jnp.float32)
