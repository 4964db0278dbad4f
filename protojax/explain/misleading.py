"""Misleading pairs: alike to the model for a reason that the eye does not see.

A report shows a patch beside a prototype, and the reader guesses why they are
alike. This module compares that guess with the model's own reason. The question
is that of "This Looks Like That, Because ..." (Nauta et al., 2021); the
definition is ours.

The reason of a pair is the characteristic that stands out for its prototype
(see `standings`), if the pair loses similarity without it. The pair is
misleading if its two crops differ in this characteristic more than 95 % of the
pairs of one class do, by the differences of `crop_differences`: of the pairs of
the report, those whose image has the prototype's class. If no image has, of all
pairs. So among pairs of one class at most one in twenty is misleading.

A pair is not misleading if it looks different in everything but its reason, nor
if nothing stands out. `mark` runs at the end of a report, because it needs all
pairs.
"""

from collections.abc import Iterator, Sequence
import dataclasses
from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np

from protojax.explain import crop_differences
from protojax.explain.evidence import (
  Evidence,
  GlobalExplanation,
  LocalExplanation,
  Neighbour,
)
from protojax.modify.modification import CHARACTERISTICS
from protojax.types import ArrayLike

# Percentile of the differences of pairs of one class.
_FAR = 95.0


class Pairs(NamedTuple):
  """How n pairs differ to the eye; axis 5: `CHARACTERISTICS`.

  Attributes:
    difference: each characteristic in its own unit.
    limit: what 95 % of the pairs of one class differ less than.
    misleading: whether a pair differs more in its reason.
  """

  difference: Float[np.ndarray, "n 5"]
  limit: Float[np.ndarray, "5"]
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
  known = {e.prototype: e for e in prototypes if e.standings}
  pairs = [
    (pair, pair.crop, known[j], crop, same)
    for j, pair, same in _pairs(prototypes, images)
    if j in known
    and pair.crop is not None
    and (crop := crops.get(j)) is not None
  ]
  if not pairs:
    return tuple(prototypes), tuple(images)
  found = compare(
    [patch for _, patch, *_ in pairs],
    [crop for *_, crop, _ in pairs],
    np.array([_reason(pair, e) for pair, _, e, *_ in pairs], np.int32),
    np.array([same for *_, same in pairs]),
  )
  marks = {
    id(pair): bool(misleads)
    for (pair, *_), misleads in zip(pairs, found.misleading, strict=True)
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
  reason: Int[ArrayLike, " n"],
  same: Bool[ArrayLike, " n"],
) -> Pairs:
  """Compares the reasons of a model with what the eye may see.

  Args:
    patches: n crops of images, RGB of any sizes.
    prototypes: n crops, of the prototype that each patch is alike to.
    reason: of each pair, its position among `CHARACTERISTICS`; -1 for none.
    same: whether its image has the prototype's class.
  """
  a, b = map(crop_differences.describe, (patches, prototypes))
  difference = crop_differences.differences(a, b)
  same = np.asarray(same, bool)
  of_class = difference[same] if same.any() else difference
  limit = np.percentile(of_class, _FAR, axis=0)
  limit = np.maximum(limit, crop_differences.HARDLY_SEEN)
  reason = np.asarray(reason)
  own = difference[np.arange(len(reason)), reason]
  return Pairs(difference, limit, (reason >= 0) & (own > limit[reason]))


def _pairs(
  prototypes: Sequence[GlobalExplanation], images: Sequence[LocalExplanation]
) -> Iterator[tuple[int, Neighbour | Evidence, bool]]:
  """All pairs of a prototype and a patch that a report may show.

  The third is whether the image has the prototype's class.
  """
  for e in prototypes:
    for near in e.nearest.values():
      for n in near:
        yield e.prototype, n, n.label == e.speaks_for
  speaks_for = {e.prototype: e.speaks_for for e in prototypes}
  for e in images:
    for row in e.evidence:
      yield row.prototype, row, e.label == speaks_for.get(row.prototype, "")


def _reason(pair: Neighbour | Evidence, e: GlobalExplanation) -> int:
  """What stands out, if the pair loses similarity without it; -1 for none."""
  if not pair.because.get(e.stands_out, 0.0) > 0:
    return -1
  return CHARACTERISTICS.index(e.stands_out)
