"""Which pairs of a report mislead: what was shown, held against the eye.

The pictures of all pairs together say how different two of them are that were
picked at random, so that this comes at the end of a run.
"""

from collections.abc import Iterator, Sequence
import dataclasses

import numpy as np

from protojax.explain import misleading
from protojax.explain.evidence import (
  Evidence,
  GlobalExplanation,
  LocalExplanation,
  Neighbour,
)
from protojax.modify.perturb import CHARACTERISTICS


def judged(
  prototypes: Sequence[GlobalExplanation], images: Sequence[LocalExplanation]
) -> tuple[tuple[GlobalExplanation, ...], tuple[LocalExplanation, ...]]:
  """The same explanations, their pairs with crops marked; see `misleading`.

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
  verdicts = misleading.judge(
    [crop for _, crop, _ in pairs],
    [prototype for *_, prototype in pairs],
    np.array([_importance(pair) for pair, *_ in pairs], np.float32),
  )
  marks = {
    id(pair): bool(found)
    for (pair, *_), found in zip(pairs, verdicts.misleading, strict=True)
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
