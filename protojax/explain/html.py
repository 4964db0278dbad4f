"""The report: all explanations of a run in one HTML file.

Pictures are embedded, nothing is loaded from elsewhere and no script runs, so
that the file can be sent to whoever has to see it. Every name is escaped.
"""

import base64
from collections.abc import Mapping, Sequence
import dataclasses
import functools
from importlib import resources
import io
import math
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import jinja2
import numpy as np
from PIL import Image

from protojax.explain import text
from protojax.explain.evidence import (
  Because,
  Box,
  GlobalExplanation,
  LocalExplanation,
  Picture,
)
from protojax.writing import replacing

# Rows of bars; the control belongs to the numbers, not to the bars.
_ORDER = ("hue", "shape", "texture", "contrast", "saturation", "brightness")
_STAGES = {
  "before_push": "before the push",
  "after_push": "after the push",
  "after_last_layer": "after the last layer",
  "after_prune": "after pruning",
}
_THUMBNAIL = 104
_UNLABELLED = "Without a label"


@dataclasses.dataclass(frozen=True)
class Run:
  """What the head of a report says.

  Attributes:
    title: of the run.
    facts: name and value of each figure shown at the top.
    accuracy: stage of training ("before_push", ...) -> share of test images.
    strengths: parameters of the modifications.
    version: of protojax.
  """

  title: str
  facts: Sequence[tuple[str, str]] = ()
  accuracy: Mapping[str, float] = dataclasses.field(default_factory=dict)
  strengths: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  version: str = ""


def write(
  path: Path,
  run: Run,
  prototypes: Sequence[GlobalExplanation],
  images: Sequence[LocalExplanation],
) -> None:
  """Renders the report and puts it in its place in one go."""
  page = render(run, prototypes, images)
  with replacing(path) as file:
    file.write(page)


def render(
  run: Run,
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
  return _template().render(
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
    order=[name for name in _ORDER if name in names],
    overall=overall,
    local_overall={"local": local_overall},
    overall_range=_range([*overall.values(), local_overall]),
    global_range=_range(b.scores for e in alive for b in e.because.values()),
    local_range=_range(shown_scores),
    thumbnails=_thumbnails(alive, images),
    shown_line=_shown_line(images),
    cautions=_cautions(names),
  )


@functools.lru_cache(maxsize=1)
def _template() -> jinja2.Template:
  source = resources.files("protojax.explain") / "report.html.jinja"
  environment = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
  )
  environment.filters |= {
    "uri": _uri,
    "place": _place,
    "bar": _bar,
    "zero": _zero,
    "scores": _scores,
    "minus": _minus,
    "signed": lambda x: _minus(f"{x:.2f}".replace("-0.00", "0.00")),
    "five": lambda x: _minus(f"{x:.5f}"),
    "percent": lambda x: f"{x:.1%}",
  }
  return environment.from_string(source.read_text("utf-8"))


def _uri(picture: Picture) -> str:
  file = io.BytesIO()
  Image.fromarray(np.asarray(picture)).save(file, "JPEG", quality=88)
  data = base64.b64encode(file.getvalue()).decode("ascii")
  return f"data:image/jpeg;base64,{data}"


def _minus(number: str) -> str:
  """A number with a minus sign as wide as a plus, not a hyphen."""
  return number.replace("-", "\N{MINUS SIGN}")


def _place(box: Box, size: int) -> str:
  """A box as CSS, in shares of the picture."""
  sides = {
    "left": box.left,
    "top": box.top,
    "width": box.right - box.left,
    "height": box.bottom - box.top,
  }
  return ";".join(f"{k}:{100 * v / size:.2f}%" for k, v in sides.items())


def _range(scores) -> tuple[float, float]:
  """From the lowest to the highest score, zero among them."""
  values = [
    score
    for row in scores
    for name, score in row.items()
    if name in _ORDER and math.isfinite(score)
  ]
  low, high = min(values, default=0.0), max(values, default=0.0)
  return min(low, 0.0), max(high, 1e-6)


def _zero(range_: tuple[float, float]) -> str:
  """Where zero lies, in percent of the range."""
  low, high = range_
  return f"{-100 * low / (high - low):.2f}"


def _bar(score: float, range_: tuple[float, float]) -> str:
  """A bar from zero to the score, as CSS."""
  if not math.isfinite(score):
    return "width:0"
  low, high = range_
  start = (min(score, 0.0) - low) / (high - low)
  return f"left:{100 * start:.2f}%;width:{100 * abs(score) / (high - low):.2f}%"


def _scores(because: Mapping[str, Because]) -> dict[str, Mapping[str, float]]:
  return {split: of.scores for split, of in because.items()}


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
  return {
    e.prototype: _uri(_cut(e.patch.picture, e.patch.box))
    for e in alive
    if e.prototype in used and e.patch and e.patch.picture is not None
  }


def _cut(picture: Picture, box: Box) -> UInt8[np.ndarray, "side side 3"]:
  """A square around the box, as large as a thumbnail."""
  size = picture.shape[0]
  side = min(size, max(box.bottom - box.top, box.right - box.left, size // 5))
  top = (box.top + box.bottom - side) // 2
  left = (box.left + box.right - side) // 2
  top, left = (max(0, min(at, size - side)) for at in (top, left))
  cut = Image.fromarray(picture[top : top + side, left : left + side])
  resample = Image.Resampling.BICUBIC
  return np.asarray(cut.resize((_THUMBNAIL, _THUMBNAIL), resample))


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
