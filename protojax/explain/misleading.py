"""Misleading pairs: alike to the model for a reason that the eye does not see.

A report shows a patch beside a prototype, and the reader guesses why they are
alike. This module compares that guess with the model's own reasons. The
question is that of "This Looks Like That, Because ..." (Nauta et al., 2021);
the definition is ours.

For a pair i of crops and a characteristic c:

- the model's reasons are the shares s_ic of the local importance, that is
  max(phi_ic, 0) over its sum; the first reason is the one of the largest share.
- the eye's are the differences d_ic of `crop_differences`, on one scale:
  u_ic = d_ic / (d_ic + r_c), where r_c is the mean difference of the same crops
  paired at random, or what is hardly seen if that is more. 0 is equal, 1/2 as
  different as two of these crops picked at random, 1 the limit.
- the eye reads c as a likeness of the pair if u_ic <= 1/2.
- the pair is misleading if the eye does not read the model's first reason as a
  likeness: "alike because of hue", and their hues differ more than those of
  crops picked at random.

So a pair is not misleading if it looks different in everything but the model's
first reason. It is misleading if it looks alike in everything but that reason.
`mark` runs at the end of a report, because r_c needs all of its pairs.
"""

from collections.abc import Iterator, Sequence
import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.explain import crop_differences
from protojax.explain.crop_differences import Descriptors
from protojax.explain.evidence import (
  Evidence,
  GlobalExplanation,
  LocalExplanation,
  Neighbour,
)
from protojax.modify.modification import CHARACTERISTICS
from protojax.types import ArrayLike

# u: as different as two crops picked at random.
RANDOM = 0.5


class PairScores(NamedTuple):
  """How n pairs differ to the eye; axis 5: `CHARACTERISTICS`.

  Attributes:
    difference: d, each characteristic in its own unit.
    unlike: u, from 0 (equal) to 1; 1/2 is a pair picked at random.
    first: position of the model's first reason among `CHARACTERISTICS`; -1 if
      none has a positive score.
    misleading: whether the eye does not read the model's first reason.
  """

  difference: Float[np.ndarray, "n 5"]
  unlike: Float[np.ndarray, "n 5"]
  first: Int[np.ndarray, " n"]
  misleading: Bool[np.ndarray, " n"]


def mark(
  prototypes: Sequence[GlobalExplanation], images: Sequence[LocalExplanation]
) -> tuple[tuple[GlobalExplanation, ...], tuple[LocalExplanation, ...]]:
  """The same explanations, with `misleading` set in all pairs that have crops.

  Args:
    prototypes: with the crops of their patches and of their neighbours.
    images: with the crops of the rows that are shown.
  """
  crops = {e.prototype: e.patch.crop for e in prototypes if e.patch is not None}
  pairs = [
    (pair, pair.crop, prototype)
    for j, pair in _pairs(prototypes, images)
    if pair.crop is not None and (prototype := crops.get(j)) is not None
  ]
  if not pairs:
    return tuple(prototypes), tuple(images)
  scores = compare(
    [crop for _, crop, _ in pairs],
    [prototype for *_, prototype in pairs],
    np.array([_importance(pair) for pair, *_ in pairs], np.float32),
  )
  marks = {
    id(pair): bool(misleads)
    for (pair, *_), misleads in zip(pairs, scores.misleading, strict=True)
  }

  def marked(pair):
    return dataclasses.replace(pair, misleading=marks.get(id(pair)))

  return (
    tuple(
      dataclasses.replace(
        e,
        nearest={s: tuple(map(marked, near)) for s, near in e.nearest.items()},
      )
      for e in prototypes
    ),
    tuple(
      dataclasses.replace(e, evidence=tuple(map(marked, e.evidence)))
      for e in images
    ),
  )


def compare(
  patches: Sequence[UInt8[ArrayLike, "_ _ 3"]],
  prototypes: Sequence[UInt8[ArrayLike, "_ _ 3"]],
  importance: Float[ArrayLike, "n 5"],
) -> PairScores:
  """Compares the model's reasons with what the eye may see.

  Give it all pairs of a report at once, because the pairs at random are made
  of their crops. A single pair is never misleading.

  Args:
    patches: n crops of images, RGB of any sizes.
    prototypes: n crops, of the prototype that each patch is alike to.
    importance: phi_local of each pair, in the order of `CHARACTERISTICS`; nan
      is no reason.
  """
  shares = _shares(np.asarray(importance))
  reasons = shares.any(axis=1)
  a, b = map(crop_differences.describe, (patches, prototypes))
  difference = crop_differences.differences(a, b)
  scale = np.maximum(_at_random(a, b), crop_differences.HARDLY_SEEN)
  unlike = difference / (difference + scale[None])
  first = np.argmax(shares, axis=1)
  read = unlike[np.arange(len(first)), first] <= RANDOM
  return PairScores(
    difference=difference,
    unlike=unlike,
    first=np.where(reasons, first, -1),
    misleading=reasons & ~read,
  )


def _pairs(
  prototypes: Sequence[GlobalExplanation], images: Sequence[LocalExplanation]
) -> Iterator[tuple[int, Neighbour | Evidence]]:
  """All pairs of a prototype and a patch that a report may show."""
  for e in prototypes:
    for near in e.nearest.values():
      yield from ((e.prototype, neighbour) for neighbour in near)
  for e in images:
    yield from ((row.prototype, row) for row in e.evidence)


def _importance(pair: Neighbour | Evidence) -> list[float]:
  return [pair.because.get(name, 0.0) for name in CHARACTERISTICS]


def _shares(importance: np.ndarray) -> Float[np.ndarray, "n 5"]:
  """The model's reasons; all 0 where it has none."""
  positive = np.where(importance > 0, importance, 0.0)
  total = np.sum(positive, axis=1, keepdims=True)
  return positive / np.where(total > 0, total, 1.0)


def _at_random(a: Descriptors, b: Descriptors) -> Float[np.ndarray, "5"]:
  """Mean differences of the same crops in other pairs, drawn at random."""
  # Shuffled: neighbours in a report are often of one image or one class.
  order = np.random.default_rng(0).permutation(len(a.contrast))
  differences = crop_differences.differences(
    Descriptors(*(x[order] for x in a)),
    Descriptors(*(x[np.roll(order, 1)] for x in b)),
  )
  return np.mean(differences, axis=0)
