"""The report of classes: why images look like the prototypes they look like.

Puts explanations on a page; `page` makes one file of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np

from protojax.explain import page, text
from protojax.explain.evidence import (
  Because,
  Box,
  GlobalExplanation,
  LocalExplanation,
  Picture,
)
from protojax.writing import replacing

_STAGES = {
  "before_push": "before the push",
  "after_push": "after the push",
  "after_last_layer": "after the last layer",
  "after_prune": "after pruning",
}
_THUMBNAIL = 104
_UNLABELLED = "Without a label"


def write(
  path: Path,
  run: page.Run,
  prototypes: Sequence[GlobalExplanation],
  images: Sequence[LocalExplanation],
) -> None:
  """Renders the report and puts it in its place in one go."""
  content = render(run, prototypes, images)
  with replacing(path) as file:
    file.write(content)


def render(
  run: page.Run,
  prototypes: Sequence[GlobalExplanation],
  images: Sequence[LocalExplanation],
) -> str:
  """The report as HTML.

  Args:
    run: the head.
    prototypes: one explanation each, with the scores of all splits.
    images: those without a picture are left out.
  """
  images = [e for e in images if e.picture is not None]
  alive = [e for e in prototypes if e.alive]
  overall = _means(alive)
  local_overall = _local_means(images)
  names = next(
    (tuple(b.scores) for e in prototypes for b in e.because.values()),
    next((tuple(r.because) for e in images for r in e.evidence), ()),
  )
  shown_scores = [r.because for e in images for r in e.evidence if r.box]
  return page.render(
    "report.html.jinja",
    run=run,
    texts=text,
    accuracy=[
      (_STAGES.get(name, name), f"{value:.1%}")
      for name, value in run.accuracy.items()
    ],
    classes=_classes(prototypes),
    groups=_groups(images, [e.class_name for e in prototypes]),
    splits=_splits(prototypes, images),
    names=names,
    order=[name for name in page.ORDER if name in names],
    overall=overall,
    local_overall={"local": local_overall},
    overall_range=page.score_range([*overall.values(), local_overall]),
    scores_of=_scores,
    global_range=page.score_range(
      b.scores for e in alive for b in e.because.values()
    ),
    local_range=page.score_range(shown_scores),
    thumbnails=_thumbnails(alive, images),
    shown_line=_shown_line(images),
    cautions=_cautions(names),
  )


def _scores(explained: GlobalExplanation) -> dict[str, Mapping[str, float]]:
  return {split: of.scores for split, of in explained.because.items()}


def _means(alive: Sequence[GlobalExplanation]) -> dict[str, dict[str, float]]:
  """split -> modification -> mean over prototypes."""
  columns: dict[str, list[Because]] = {}
  for e in alive:
    for split, because in e.because.items():
      columns.setdefault(split, []).append(because)
  return {
    split: {
      name: float(np.nanmean([b.scores[name] for b in column]))
      for name in column[0].scores
    }
    for split, column in columns.items()
  }


def _local_means(images: Sequence[LocalExplanation]) -> dict[str, float]:
  rows = [row.because for e in images for row in e.evidence]
  names = rows[0] if rows else ()
  return {name: float(np.mean([r[name] for r in rows])) for name in names}


def _classes(prototypes: Sequence[GlobalExplanation]) -> list[dict[str, Any]]:
  classes: dict[str, dict[str, Any]] = {}
  for e in prototypes:
    of = classes.setdefault(
      e.class_name, {"name": e.class_name, "alive": [], "dead": []}
    )
    if e.alive:
      of["alive"].append(e)
    else:
      of["dead"].append(e.prototype)
  return list(classes.values())


def _groups(
  images: Sequence[LocalExplanation], class_names: Sequence[str]
) -> list[dict[str, Any]]:
  """Images by their class, in the order of the prototypes."""
  groups: dict[str, list[LocalExplanation]] = {n: [] for n in class_names}
  for e in images:
    groups.setdefault(e.label or _UNLABELLED, []).append(e)
  return [{"name": n, "images": found} for n, found in groups.items() if found]


def _splits(prototypes, images) -> list[str]:
  found = [split for e in prototypes for split in e.because]
  return list(dict.fromkeys(found + [e.split for e in images]))


def _thumbnails(alive, images) -> dict[int, str]:
  """The boxed part of each prototype that some image is compared with."""
  used = {row.prototype for e in images for row in e.evidence}
  pieces = {
    e.prototype: _piece(e.patch.picture, e.patch.box)
    for e in alive
    if e.prototype in used and e.patch and e.patch.picture is not None
  }
  return {prototype: page.uri(piece) for prototype, piece in pieces.items()}


def _piece(picture: Picture, box: Box) -> UInt8[np.ndarray, "side side 3"]:
  """The boxed part, with something around it."""
  return page.cut(picture, box, _THUMBNAIL, picture.shape[0] // 5)


def _shown_line(images: Sequence[LocalExplanation]) -> str:
  wrong = sum(e.wrong for e in images)
  shown = f"{len(images)} image{'s' if len(images) != 1 else ''} shown"
  if any(e.label is None for e in images):
    return f"{shown}."
  return (
    f"{shown}: the first of each class, and some whose class was not"
    f" recognised ({wrong} in all). The tables hold every image."
  )


def _cautions(names: Sequence[str]) -> list[str]:
  texts = [text.RECEPTIVE_FIELD, text.COMPARE, text.FAST]
  if "brightness" in names:
    texts.append(text.BRIGHTNESS)
  if "identity" in names:
    texts.append(text.IDENTITY)
  return texts
