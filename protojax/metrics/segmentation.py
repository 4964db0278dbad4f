"""How well classes of pixels are found: IoU by class, accuracy, boundary IoU.

`count` runs on the device and gives integers for each image; the host adds them
over a whole set in int64, and `scores` makes the metrics of the sums. Pixels
whose class is unknown count nowhere.
"""

from collections.abc import Mapping
import math
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import Array, ArrayLike

# Width of a boundary as a share of the image's diagonal, as in the authors'
# code of boundary IoU.
_BOUNDARY = 0.02


class Counts(NamedTuple):
  """Numbers of pixels; of images with a leading b, of a set without it.

  Attributes:
    pairs: by class (first axis) and answer, [k k].
    shared: by class: on the boundary of the class and of the answer, [k].
    either: by class: on the boundary of one of the two, [k].
  """

  # Any: transformations store arrays of all libraries here.
  pairs: Int[ArrayLike, "*b k k"]
  shared: Int[ArrayLike, "*b k"]
  either: Int[ArrayLike, "*b k"]


def count(
  answers: Int[ArrayLike, "b H W"],
  labels: Int[ArrayLike, "b H W"],
  classes: int,
  ignore: int = 255,
) -> Counts:
  """The counts of each image.

  Args:
    answers: the class that each pixel is given.
    labels: the class that it has.
    classes: k.
    ignore: the label of pixels that count nowhere.
  """
  answers, labels = jnp.asarray(answers), jnp.asarray(labels)
  known = labels != ignore
  pairs = jnp.where(known, labels * classes + answers, classes**2)
  width = boundary_width(*labels.shape[1:])
  true = jnp.where(known & boundary(labels, width), labels, classes)
  said = jnp.where(known & boundary(answers, width), answers, classes)
  both = jnp.where(true == said, true, classes)
  shared = _histogram(both, classes)
  return Counts(
    _histogram(pairs, classes**2).reshape(-1, classes, classes),
    shared,
    _histogram(true, classes) + _histogram(said, classes) - shared,
  )


def boundary_width(height: int, width: int) -> int:
  """Pixels that a boundary is wide, at least 1."""
  return max(1, round(_BOUNDARY * math.hypot(height, width)))


def boundary(
  planes: Int[ArrayLike, "b H W"], width: int
) -> Bool[Array, "b H W"]:
  """Pixels with one of another class, or the image's edge, near them.

  The inner boundary of boundary IoU (Cheng et al., CVPR 2021): what an erosion
  by a square of `width` pixels to each side takes off each class.
  """
  planes = jnp.asarray(planes)
  # No class is below -1, so the image's edge is of another class.
  low, high = planes, planes
  for axis in (1, 2):
    window = [1, 1, 1]
    window[axis] = 2 * width + 1
    edges = [(0, 0)] * 3
    edges[axis] = (width, width)
    low = lax.reduce_window(
      jnp.pad(low, edges, constant_values=-1),
      _MOST,
      lax.min,
      window,
      [1] * 3,
      "VALID",
    )
    high = lax.reduce_window(
      jnp.pad(high, edges, constant_values=-1),
      -1,
      lax.max,
      window,
      [1] * 3,
      "VALID",
    )
  return low != high


_MOST = np.iinfo(np.int32).max


def _histogram(
  values: Int[Array, "b H W"], length: int
) -> Int[Array, "b length"]:
  """How often each value below `length` occurs in each image."""
  flat = values.reshape(len(values), -1)
  return jax.vmap(
    lambda row: jnp.zeros(length, jnp.int32).at[row].add(1, mode="drop")
  )(flat)


def nothing(classes: int) -> Counts:
  """The counts of no image."""
  each = np.zeros(classes, np.int64)
  return Counts(np.zeros((classes, classes), np.int64), each, each)


def added(total: Counts, some: Counts) -> Counts:
  """The sum over images and what was counted before, in int64.

  Args:
    total: of the images before.
    some: of further images.
  """
  return Counts(
    *(
      np.asarray(a) + np.asarray(b).sum(axis=0, dtype=np.int64)
      for a, b in zip(total, some, strict=True)
    )
  )


def iou(pairs: Int[ArrayLike, "k k"]) -> Float[np.ndarray, " k"]:
  """Intersection over union of each class; nan where it is in no pixel."""
  pairs = np.asarray(pairs)
  right = np.diagonal(pairs)
  union = pairs.sum(axis=0) + pairs.sum(axis=1) - right
  return _share(right, union)


def scores(counts: Counts) -> Mapping[str, float]:
  """Metrics of a set.

  Returns:
    "miou", the mean IoU of the classes that occur or are answered;
    "boundary_iou", the same on boundaries; "pixel_accuracy"; "class_accuracy",
    the mean share of right pixels of the classes that occur. nan without any
    pixel of a known class.
  """
  pairs = np.asarray(counts.pairs)
  right, of_class = np.diagonal(pairs), pairs.sum(axis=1)
  shared, either = np.asarray(counts.shared), np.asarray(counts.either)
  return {
    "miou": _mean(iou(pairs)),
    "boundary_iou": _mean(_share(shared, either)),
    "pixel_accuracy": float(_share(right.sum(), of_class.sum())),
    "class_accuracy": _mean(_share(right, of_class)),
  }


def _share(part, whole) -> np.ndarray:
  return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: Float[np.ndarray, " k"]) -> float:
  known = values[~np.isnan(values)]
  return float(known.mean()) if len(known) else math.nan
