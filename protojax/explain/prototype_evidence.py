"""Global explanations: what each prototype is, and what makes images like it.

`prototypical` calls `of_prototypes` at the end of a sweep, when the global
scores are known.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from protojax.explain import patches, statistics
from protojax.explain.context import Context
from protojax.explain.evidence import GlobalExplanation, GlobalScores, Interval
from protojax.explain.sweep import Totals
from protojax.explain.totals import Scores
from protojax.prototypes.bank import Bank
from protojax.prototypes.groups import CLASS

# Prototypes whose pictures are in memory at once.
_AT_ONCE = 100


def of_prototypes(
  context: Context,
  prototypes: Sequence[int],
  totals: Totals | None,
  training: Callable[[], Any] | None,
  shown: int,
  *,
  allow_changed: bool,
  optional: bool,
) -> Iterator[GlobalExplanation]:
  """Explains prototypes, some at a time to bound the pictures in memory.

  Args:
    context: the model and the images.
    prototypes: numbers of the prototypes.
    totals: of the sweep over the images; None for no scores.
    training: gives the images that the prototypes were pushed to; None leaves
      the patches out.
    shown: how many prototypes get pictures, living ones first.
    allow_changed, optional: see `patches.of_prototypes`.
  """
  alive, split = context.bank.alive, context.split
  groups = context.model.groups
  pictured = set(np.argsort(~alive, kind="stable")[:shown].tolist())
  copies = _duplicates(context.bank)
  for start in range(0, len(prototypes), _AT_ONCE):
    some = prototypes[start : start + _AT_ONCE]
    taken, near = {}, {}
    if training is not None:
      taken = patches.of_prototypes(
        training,
        context,
        some,
        pictured,
        allow_changed=allow_changed,
        optional=optional,
      )
    if totals is not None:
      near = patches.nearest(context, totals.nearest, some, pictured)
    for j in some:
      because, without_own = _scores(context, totals, j)
      k = _speaks_for(context, j)
      yield GlobalExplanation(
        prototype=j,
        group=groups.names[context.bank.class_of[j]],
        alive=bool(alive[j]),
        weight=float(context.weights[k, j]),
        duplicate_of=copies.get(j),
        patch=taken.get(j),
        because=because,
        without_own=without_own,
        nearest={split: near[j]} if near else {},
        stale=context.stale,
        kind=groups.kind,
        speaks_for=context.model.class_names[k],
        notes=context.notes[j],
      )


def _speaks_for(context: Context, j: int) -> int:
  """A prototype's class or, if it has none, that of its largest weight."""
  if context.model.groups.kind == CLASS:
    return int(context.bank.class_of[j])
  return int(context.weights[:, j].argmax())


def _scores(
  context: Context, totals: Totals | None, j: int
) -> tuple[dict[str, GlobalScores], dict[str, GlobalScores]]:
  """By split: scores with the prototype's own image, and without it."""
  if totals is None:
    return {}, {}
  names, split = context.preset.names, context.split
  because = {split: _because(totals.all, names, j)}
  if split != "train":
    return because, {}
  return because, {split: _because(totals.without_own, names, j)}


def _duplicates(bank: Bank) -> dict[int, int]:
  """Living prototype -> the first living one with the same patch."""
  provenance, first, copies = bank.provenance, {}, {}
  for j in np.flatnonzero(bank.alive & (provenance.image >= 0)).tolist():
    place = int(provenance.image[j]), int(provenance.cell[j])
    if first.setdefault(place, j) != j:
      copies[j] = first[place]
  return copies


def _because(scores: Scores, names: Sequence[str], j: int) -> GlobalScores:
  def by_name(values):
    return dict(zip(names, values.tolist(), strict=True))

  ends = statistics.interval(scores.replicates[:, :, j])
  intervals = map(Interval, *(end.tolist() for end in ends))
  return GlobalScores(
    scores=by_name(scores.importance[:, j]),
    similarity=float(scores.similarity[j]),
    images=scores.images,
    intervals=dict(zip(names, intervals, strict=True)),
    relative=by_name(scores.relative[:, j]),
    distance=by_name(scores.distance[:, j]),
  )
