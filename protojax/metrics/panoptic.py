"""How well segments are found: panoptic quality, by class and over a set.

Kirillov et al. (CVPR 2019), as their evaluation counts: a predicted segment is
right if it has the class of a true one and an IoU above one half, where void is
no part of the union. What lies mostly on void, or on a crowd of its class, is
not wrong. `count` runs on the device for each image, the host adds over a set.
"""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import Array, ArrayLike

_HALF = 0.5


class Planes(NamedTuple):
  """Segments of images. Any: transformations store anything here.

  Attributes:
    plane: number of each pixel's segment, -1 for void, int [b H W].
    classes: of each segment, int [b s].
    valid: which of them there are, bool [b s].
  """

  plane: Any
  classes: Any
  valid: Any


class Counts(NamedTuple):
  """Segments by class; of images with a leading b, of a set without it.

  Attributes:
    right: predicted segments with a true one.
    wrong: predicted ones without.
    missed: true ones without.
    overlap: sum of the IoU of the right ones.
  """

  # Any: transformations store arrays of all libraries here.
  right: Int[ArrayLike, "*b k"]
  wrong: Int[ArrayLike, "*b k"]
  missed: Int[ArrayLike, "*b k"]
  overlap: Float[ArrayLike, "*b k"]


def count(
  answers: Planes,
  truth: Planes,
  classes: int,
  crowd: Int[ArrayLike, "b H W"] | None = None,
) -> Counts:
  """The counts of each image.

  Args:
    answers: the predicted segments.
    truth: the true ones, without crowds; their pixels are void there.
    classes: k.
    crowd: the class of the crowd that a pixel is of; what is none of the k is
      no crowd. None: there is none.
  """
  if crowd is None:
    crowd = jnp.full(jnp.shape(truth.plane), classes)
  of_image = jax.vmap(lambda a, t, c: _of_image(a, t, c, classes))
  return of_image(answers, truth, jnp.asarray(crowd))


def _of_image(
  answers: Planes, truth: Planes, crowd: Array, classes: int
) -> Counts:
  said, real = answers.classes.shape[0], truth.classes.shape[0]
  # Void is the last number of each.
  a = jnp.where(answers.plane < 0, said, answers.plane).reshape(-1)
  t = jnp.where(truth.plane < 0, real, truth.plane).reshape(-1)
  shared = jnp.zeros((said + 1, real + 1), jnp.int32).at[a, t].add(1)
  crowd = crowd.reshape(-1)
  own = jnp.append(answers.classes, classes)[a]
  nowhere = (t == real) & ((crowd < 0) | (crowd >= classes))
  void = jnp.zeros(said + 1, jnp.int32).at[a].add(nowhere)
  in_crowd = (t == real) & (crowd == own) & (own < classes)
  ignored = void + jnp.zeros(said + 1, jnp.int32).at[a].add(in_crowd)
  sizes, true_sizes = shared.sum(axis=1)[:said], shared.sum(axis=0)[:real]
  both = shared[:said, :real]
  union = sizes[:, None] + true_sizes[None] - both - void[:said, None]
  share = both / jnp.maximum(union, 1)
  same = answers.classes[:, None] == truth.classes[None]
  same &= answers.valid[:, None] & truth.valid[None]
  found = same & (share > _HALF)
  right = jnp.any(found, axis=1)
  lost = ignored[:said] > _HALF * sizes
  wrong = answers.valid & (sizes > 0) & ~right & ~lost
  missed = truth.valid & (true_sizes > 0) & ~jnp.any(found, axis=0)
  best = jnp.sum(jnp.where(found, share, 0), axis=1)
  return Counts(
    _by_class(answers.classes, right, classes),
    _by_class(answers.classes, wrong, classes),
    _by_class(truth.classes, missed, classes),
    _by_class(answers.classes, best, classes),
  )


def _by_class(of: Array, values: Array, classes: int) -> Array:
  dtype = values.dtype if jnp.issubdtype(values.dtype, jnp.floating) else int
  return jnp.zeros(classes, dtype).at[of].add(values, mode="drop")


def nothing(classes: int) -> Counts:
  """The counts of no image."""
  each = np.zeros(classes, np.int64)
  return Counts(each, each, each, np.zeros(classes))


def added(total: Counts, some: Counts) -> Counts:
  """The sum over images and what was counted before, in int64 and float64.

  Args:
    total: of the images before.
    some: of further images.
  """

  def plus(before: ArrayLike, more: ArrayLike) -> np.ndarray:
    before = np.asarray(before)
    return before + np.asarray(more).sum(axis=0, dtype=before.dtype)

  return Counts(*map(plus, total, some))


class Qualities(NamedTuple):
  """Of each class, 0..1; nan where it has no segment, true or predicted.

  Attributes:
    panoptic: PQ, the product of the two others.
    segmentation: SQ, the mean IoU of the right segments; nan without one.
    recognition: RQ, the F1 of the segments.
  """

  panoptic: Float[np.ndarray, " k"]
  segmentation: Float[np.ndarray, " k"]
  recognition: Float[np.ndarray, " k"]


def qualities(counts: Counts) -> Qualities:
  """PQ, SQ and RQ of each class."""
  right, wrong, missed = (np.asarray(x, float) for x in counts[:3])
  overlap = np.asarray(counts.overlap, float)
  every = right + (wrong + missed) / 2
  return Qualities(
    _share(overlap, every), _share(overlap, right), _share(right, every)
  )


def scores(
  counts: Counts, things: Bool[ArrayLike, " k"]
) -> Mapping[str, float]:
  """Metrics of a set.

  Args:
    counts: of the set.
    things: classes of objects; the others are stuff.

  Returns:
    "pq", "sq" and "rq", means over the classes that have a segment, true or
    predicted; where things and stuff both occur, "pq_things" and "pq_stuff".
    SQ of a class without a right segment counts as 0, as in the authors' code.
  """
  each, things = qualities(counts), np.asarray(things)
  known = ~np.isnan(each.panoptic)
  quality = np.nan_to_num(each.segmentation)
  found = {
    "pq": _mean(each.panoptic[known]),
    "sq": _mean(quality[known]),
    "rq": _mean(each.recognition[known]),
  }
  if (known & things).any() and (known & ~things).any():
    found["pq_things"] = _mean(each.panoptic[known & things])
    found["pq_stuff"] = _mean(each.panoptic[known & ~things])
  return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)


def _mean(values: np.ndarray) -> float:
  return float(values.mean()) if len(values) else math.nan
