"""Evidence of images, prototypes, splits and anomalies as blocks.

The names of columns are those of the attributes of `evidence` and `inspection`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from protojax.explain.blocks import (
  Axis,
  Block,
  Cell,
  Curve,
  Explanation,
  Frame,
  Gallery,
  Map,
  Note,
  Picture,
  Series,
  Table,
  pairs,
)
from protojax.explain.evidence import (
  GlobalExplanation,
  GlobalScores,
  Histogram,
  LocalExplanation,
  Neighbour,
  Overview,
)
from protojax.explain.inspection import Inspection
from protojax.types import Box

# About so many bins of a histogram.
_BINS = 50


def of(explained: Any) -> Explanation:
  """The evidence as blocks.

  Raises:
    TypeError: it is of no class that this module knows.
  """
  maker = _MAKERS.get(type(explained))
  if maker is None:
    known = ", ".join(kind.__name__ for kind in _MAKERS)
    raise TypeError(f"{type(explained).__name__} is none of {known}")
  return maker(explained)


def of_image(e: LocalExplanation) -> Explanation:
  """Why an image got its class: answers, scoring sheet, and places."""
  names = _names(row.because for row in e.evidence)
  found: list[Block] = [
    *_picture(e.picture, e.image),
    pairs(
      {"label": e.label, "predicted": e.predicted.class_name},
      ("image", e.image),
    ),
    Table(
      ("class", "logit", "probability", "bias"),
      tuple((a.class_name, a.logit, a.probability, a.bias) for a in e.answers),
      "answers",
    ),
    Table(
      ("prototype", "class", "similarity", "weight", "points", *names),
      tuple(
        (
          r.prototype,
          r.group,
          r.similarity,
          r.weight,
          r.points,
          *(r.because.get(name) for name in names),
        )
        for r in e.evidence
      ),
      "evidence",
    ),
    *_gallery(
      ((r.heat, f"prototype {r.prototype}", r.box, None) for r in e.evidence),
      "heat",
    ),
  ]
  return _one_image(e, e.label or "", found)


def of_prototype(e: GlobalExplanation) -> Explanation:
  """What a prototype stands for: its patch, scores and neighbours."""
  found: list[Block] = []
  if e.patch is not None:
    found += _gallery(
      (
        (e.patch.picture, e.patch.image, e.patch.box, e.patch.field),
        (e.patch.heat, "heat", None, None),
      ),
      "patch",
    )
  found.append(pairs(_facts(e), ("name", "value"), "prototype"))
  for split, scores in e.because.items():
    found.append(_scores(scores, f"because {split}"))
  for split, scores in e.without_own.items():
    found.append(_scores(scores, f"because {split} without_own"))
  for split, near in e.nearest.items():
    found += _nearest(near, f"nearest {split}")
  return Explanation(
    key="-".join(("prototype", str(e.prototype), *e.because)),
    title=f"prototype {e.prototype}",
    scope="global",
    split=", ".join(e.because),
    subject=str(e.prototype),
    group=e.group,
    blocks=tuple(found),
  )


def of_overview(e: Overview) -> Explanation:
  """Scores of a split: their means, their histograms, and samples."""
  alive = e.alive
  means = {
    name: _mean(e.scores.importance[m, alive])
    for m, name in enumerate(e.modifications)
  }
  found: list[Block] = [
    *(Note(alert, "warning") for alert in e.alerts),
    pairs(means, ("modification", "mean"), f"scores {e.split}"),
    Curve(
      tuple(_line(name, histogram) for name, histogram in e.local.items()),
      Axis("local score"),
      Axis("count"),
      f"local {e.split}",
    ),
  ]
  if e.redundancy is not None:
    found.append(
      Table(
        ("prototypes", "kind"),
        tuple(
          (", ".join(map(str, g.prototypes)), g.kind)
          for g in e.redundancy.groups
        ),
        "redundancy",
      )
    )
  for sample in e.samples:
    changed = ((p, name, None, None) for name, p in sample.pictures.items())
    found += _gallery(changed, sample.image)
  return Explanation(
    key=f"overview-{e.split}",
    title=e.split,
    scope="overview",
    split=e.split,
    blocks=tuple(found),
  )


def of_inspection(e: Inspection) -> Explanation:
  """How anomalous an image is, where, and why."""
  found: list[Block] = []
  boxes = (Frame(e.worst, "worst"),) if e.worst is not None else ()
  if e.picture is not None:
    found.append(Picture(e.picture, e.image, boxes))
  if e.anomaly_map is not None and e.threshold.value > 0:
    over = Picture(e.picture) if e.picture is not None else None
    values = np.asarray(e.anomaly_map, np.float32)
    top = 2 * e.threshold.value
    found.append(Map(values, 0.0, top, "anomaly_map", "", over))
  facts: dict[str, Cell] = {
    "score": e.score,
    "threshold": e.threshold.value,
    "defective": e.defective,
    "kind": e.kind,
    "category": e.category,
    "worst_value": e.worst_value,
  }
  found.append(pairs(facts, ("name", "value"), "inspection"))
  found.append(pairs(e.because, ("modification", "because"), "because"))
  if e.prototypes:
    rows = tuple((p.number, p.share, p.distance) for p in e.prototypes)
    found.append(Table(("number", "share", "distance"), rows, "prototypes"))
  return _one_image(e, e.category, found)


_MAKERS = {
  LocalExplanation: of_image,
  GlobalExplanation: of_prototype,
  Overview: of_overview,
  Inspection: of_inspection,
}


def _one_image(
  e: LocalExplanation | Inspection, group: str, found: list[Block]
) -> Explanation:
  """The explanation of an image, from its blocks."""
  return Explanation(
    key=f"image-{e.split}-{e.index}",
    title=e.image,
    scope="local",
    split=e.split,
    subject=e.image,
    group=group,
    blocks=tuple(found),
  )


def _facts(e: GlobalExplanation) -> dict[str, Cell]:
  return {
    "alive": e.alive,
    "weight": e.weight,
    "speaks_for": e.speaks_for,
    "duplicate_of": e.duplicate_of,
    "redundant_with": ", ".join(map(str, e.redundant_with)) or None,
    "stale": e.stale,
    "misleading": e.misleading,
    **e.notes,
  }


def _scores(scores: GlobalScores, caption: str) -> Table:
  unknown = None, None
  return Table(
    ("modification", "score", "low", "high", "relative", "distance"),
    tuple(
      (
        name,
        score,
        *scores.intervals.get(name, unknown),
        scores.relative.get(name),
        scores.distance.get(name),
      )
      for name, score in scores.scores.items()
    ),
    caption,
  )


def _nearest(near: tuple[Neighbour, ...], caption: str) -> list[Block]:
  table = Table(
    ("image", "label", "similarity", "misleading"),
    tuple((n.image, n.label, n.similarity, n.misleading) for n in near),
    caption,
  )
  pictures = ((n.picture, n.image, n.box, None) for n in near)
  return [*_gallery(pictures, caption), table]


def _picture(image: Any, caption: str) -> list[Block]:
  """A picture, if it is here and not in a file."""
  return [Picture(image, caption)] if isinstance(image, np.ndarray) else []


def _gallery(
  pictures: Iterable[tuple[Any, str, Box | None, Box | None]], caption: str
) -> list[Block]:
  """The pictures that are here, with a box and a receptive field."""
  found = tuple(
    Picture(
      image,
      text,
      tuple(
        Frame(place, label)
        for place, label in ((box, ""), (field, "field"))
        if place is not None
      ),
    )
    for image, text, box, field in pictures
    if isinstance(image, np.ndarray)
  )
  return [Gallery(found, caption)] if found else []


def _line(name: str, histogram: Histogram) -> Series:
  """Counts in wider bins, of which an eye can tell the heights."""
  edges, counts = histogram
  step = max(1, len(counts) // _BINS)
  ends = np.append(edges[:-1:step], edges[-1])
  wide = np.add.reduceat(counts, np.arange(0, len(counts), step))
  return Series(name, (ends[1:] + ends[:-1]) / 2, wide.astype(float))


def _names(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
  return tuple(dict.fromkeys(name for row in rows for name in row))


def _mean(scores: np.ndarray) -> float:
  known = scores[np.isfinite(scores)]
  return float(known.mean()) if known.size else np.nan
