"""Contents of the pages of classes, as the templates take them.

Sorts explanations into classes and sets the scales of their bars.
`characteristics` adds what holds over all prototypes, and `class_pages` writes
one page or many.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
from typing import Any

from protojax.explain.evidence import (
  GlobalExplanation,
  GlobalScores,
  Interval,
  LocalExplanation,
  Overview,
)
from protojax.prototypes.groups import CLASS, FAVOURITE
from protojax.report import (
  characteristics,
  confusion,
  glossary,
  page,
  sentences,
)

_STAGES = {
  "before_push": "before the push",
  "after_push": "after the push",
  "after_last_layer": "after the last layer",
  "after_prune": "after pruning",
}
_UNLABELLED = "Without a label"


@dataclasses.dataclass(frozen=True)
class Group:
  """A class with its prototypes and its images that are shown.

  Attributes:
    name: of the class.
    alive: its living prototypes.
    dead: numbers of its pruned prototypes.
    images: its images that are explained.
  """

  name: str
  alive: tuple[GlobalExplanation, ...]
  dead: tuple[int, ...]
  images: tuple[LocalExplanation, ...]


def values(
  run: page.Run,
  prototypes: Sequence[GlobalExplanation],
  images: Sequence[LocalExplanation],
  overviews: Mapping[str, Overview],
  statistics: Sequence[Mapping[str, Any]],
  answers: Mapping[tuple[str, str], int],
  in_use: Mapping[tuple[int, str], float],
) -> dict[str, Any]:
  """The values that the templates take, for one page or many.

  Args:
    run: the head.
    prototypes: one explanation each, with the scores of all splits.
    images: those without a picture are left out.
    overviews: split -> its overview.
    statistics: rows of `statistics.rows`.
    answers: (label, predicted class) -> number of images.
    in_use: (prototype, predicted class) -> points that it gave to it.
  """
  prototypes = filed(prototypes, in_use)
  images = [e for e in images if e.picture is not None]
  alive = [e for e in prototypes if e.alive]
  scored = {e.prototype: e for e in alive if e.because}
  names = _names(prototypes, images)
  order = page.ordered(names)
  kind = next((e.kind for e in prototypes), CLASS)
  return {
    "run": run,
    "sentences": sentences,
    "glossary": glossary,
    "accuracy": [
      (_STAGES.get(name, name), f"{value:.1%}")
      for name, value in run.accuracy.items()
    ],
    "confusion": confusion.of(answers, images),
    "kind": kind,
    "noted": [
      name for name in run.notes if any(name in e.notes for e in prototypes)
    ],
    "names": names,
    "order": order,
    # The names of a sweep over strengths are no characteristics.
    "ranked": [n for n in order if n in sentences.CHARACTERISTICS] or order,
    "splits": _splits(prototypes, images),
    "what_leads": (
      "Stands out" if any(e.standings for e in alive) else "Loses most by"
    ),
    "groups": groups(prototypes, images),
    "scored": scored,
    **_all_prototypes(alive),
    **_all_images(order, scored, overviews),
    "statistics": characteristics.figures(statistics),
    **_overall(alive, images),
    **_ranges(scored, images),
    "last": _last,
    "scores_of": _scores,
    "intervals_of": _intervals,
    "shown_line": _shown_line(images),
    "cautions": _cautions(run, names, scored),
  }


def filed(
  prototypes: Sequence[GlobalExplanation],
  in_use: Mapping[tuple[int, str], float],
) -> list[GlobalExplanation]:
  """Prototypes of no class under the class they give most points to, in order.

  The class of the largest weight, under which they come, need not be one that
  they ever fire for. Those with most points come first; those that gave none
  stay where they are. Prototypes with a class do not change.

  Args:
    prototypes: with their groups.
    in_use: see `values`.
  """
  of: dict[int, dict[str, float]] = {}
  for (j, name), points in in_use.items():
    of.setdefault(j, {})[name] = points
  most = {j: max(own, key=own.__getitem__) for j, own in of.items()}

  def one(e: GlobalExplanation) -> GlobalExplanation:
    if e.kind != FAVOURITE or e.prototype not in most:
      return e
    return dataclasses.replace(e, group=most[e.prototype])

  def rank(e: GlobalExplanation) -> float:
    if e.kind != FAVOURITE:
      return 0.0
    return -max(of.get(e.prototype, {}).values(), default=0.0)

  # Stable, and by class as before.
  first = {
    name: n for n, name in enumerate(dict.fromkeys(e.group for e in prototypes))
  }
  found = sorted(map(one, prototypes), key=rank)
  return sorted(found, key=lambda e: first.get(e.group, len(first)))


def groups(
  prototypes: Iterable[GlobalExplanation], images: Sequence[LocalExplanation]
) -> list[Group]:
  """Groups by class, in the order of the prototypes.

  Images without a label come first, because the reader has asked about them.
  """
  found: dict[str, tuple[list, list, list]] = {}
  if any(e.label is None for e in images):
    found[_UNLABELLED] = [], [], []
  for e in prototypes:
    alive, dead, _ = found.setdefault(e.group, ([], [], []))
    if e.alive:
      alive.append(e)
    else:
      dead.append(e.prototype)
  for e in images:
    name = _UNLABELLED if e.label is None else e.label
    found.setdefault(name, ([], [], []))[2].append(e)
  return [Group(name, *map(tuple, of)) for name, of in found.items()]


def _names(prototypes, images) -> tuple[str, ...]:
  """Names of the modifications."""
  return next(
    (tuple(b.scores) for e in prototypes for b in e.because.values()),
    next((tuple(r.because) for e in images for r in e.evidence), ()),
  )


def _splits(prototypes, images) -> list[str]:
  found = [split for e in prototypes for split in e.because]
  return list(dict.fromkeys(found + [e.split for e in images]))


def _last(e: GlobalExplanation) -> GlobalScores:
  """The scores that rank a prototype: those of the last split."""
  return list(e.because.values())[-1]


def _scores(e: GlobalExplanation) -> dict[str, Mapping[str, float]]:
  return {split: because.scores for split, because in e.because.items()}


def _intervals(e: GlobalExplanation) -> dict[str, Mapping[str, Interval]]:
  return {split: because.intervals for split, because in e.because.items()}


def _all_prototypes(alive) -> dict[str, Any]:
  """Values about prototypes, by their numbers."""
  flags = {e.prototype: glossary.flags(e) for e in alive}
  return {
    "flags": flags,
    "raised": [
      flag
      for flag in glossary.FLAGS
      if any(flag in own for own in flags.values())
    ],
    "whiskers": any(b.intervals for e in alive for b in e.because.values()),
    # The small picture of each prototype.
    "pieces": {
      e.prototype: e.patch.piece
      for e in alive
      if e.patch and e.patch.piece is not None
    },
    "ratios": {e.prototype: e.patch.ratio for e in alive if e.patch},
  }


def _all_images(order, scored, overviews) -> dict[str, Any]:
  """Values about whole splits."""
  return {
    "characteristics": [
      characteristics.characteristic(name, list(scored.values()), overviews)
      for name in order
      if scored
    ],
    "samples": [s for o in overviews.values() for s in o.samples],
    "redundancy": next(
      (o.redundancy for o in overviews.values() if o.redundancy), None
    ),
  }


def _overall(alive, images) -> dict[str, Any]:
  """Means over everything, and the scale of their bars."""
  overall = characteristics.means(alive)
  local = characteristics.local_means(images)
  return {
    "overall": overall,
    "local_overall": {"local": local},
    "overall_range": page.score_range([*overall.values(), local]),
  }


def _ranges(scored, images) -> dict[str, tuple[float, float]]:
  """The ranges of scores and intervals, for global and local bars."""
  because = [b for e in scored.values() for b in e.because.values()]
  rows = [r for e in images for r in e.evidence if r.box]
  beside = (scored[r.prototype] for r in rows if r.prototype in scored)
  return {
    "global_range": page.score_range(
      scores
      for b in because
      for scores in (
        b.scores,
        {name: i.low for name, i in b.intervals.items()},
        {name: i.high for name, i in b.intervals.items()},
      )
    ),
    "local_range": page.score_range(
      [*(r.because for r in rows), *(_last(e).scores for e in beside)]
    ),
  }


def _shown_line(images: Sequence[LocalExplanation]) -> str:
  wrong = sum(e.wrong for e in images)
  shown = f"{len(images):,} image{'s' if len(images) != 1 else ''} shown"
  if any(e.label is None for e in images):
    return f"{shown}."
  return (
    f"{shown}: the first of each class, and some whose class was not"
    f" recognised ({wrong:,} in all). The tables hold every image."
  )


def _cautions(run, names, scored) -> list[str]:
  cautions = [sentences.RECEPTIVE_FIELD, sentences.COMPARE]
  if run.mode == "fast":
    cautions.append(sentences.FAST)
  if any("train" in e.because for e in scored.values()):
    cautions.append(sentences.OWN_IMAGE)
  if "brightness" in names:
    cautions.append(sentences.BRIGHTNESS)
  if "identity" in names:
    cautions.append(sentences.IDENTITY)
  return cautions
