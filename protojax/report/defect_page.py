"""The page of inspections: images by their score, the worst first.

`defect_report` calls it. It makes pictures of the few images that are shown,
and fills the template.
"""

from collections.abc import Sequence
import math
from pathlib import Path
from typing import Any

from protojax.explain import inspection
from protojax.explain.inspection import Inspection, Intrinsic
from protojax.modify import sides
from protojax.report import (
  defect_pictures,
  defect_scores,
  defect_sentences,
  page,
  sentences,
)
from protojax.writing import replacing

# Metrics in the summary of a run, and their names on the page.
FIGURES = {
  "image_auroc": (
    "Image AUROC: how often a defective image scores higher than a normal one"
  ),
  "image_ap": "Image AP: precision, mean over all shares of defects found",
  "image_f1_max": "Image F1-max: of precision and recall, best threshold",
  "pixel_auroc": "Pixel AUROC: the same for defective and normal pixels",
  "pixel_ap": "Pixel AP: the same for pixels",
  "pixel_f1_max": "Pixel F1-max: the same for pixels",
  "aupro": "AUPRO: share of each defect covered, up to 30 % false pixels",
}


def write(path: Path, run: page.Run, inspections: Sequence[Inspection]) -> None:
  """Renders the page and writes its file."""
  content = render(run, inspections)
  with replacing(path) as file:
    file.write(content)


def render(run: page.Run, inspections: Sequence[Inspection]) -> str:
  """The page as HTML.

  Args:
    run: the head.
    inspections: all of them; those with pictures are shown, the others are only
      in the table.
  """
  values = _values(run, inspections)
  return page.render("inspection.html.jinja", alone=False, **values)


def render_one(run: page.Run, e: Inspection) -> str:
  """The page of a single image as HTML; it has its pictures."""
  return page.render("one_defect.html.jinja", alone=True, **_values(run, [e]))


def _values(run: page.Run, inspections: Sequence[Inspection]) -> dict[str, Any]:
  """The values that the templates take."""
  ordered = inspection.worst_first(inspections)
  numbered = list(enumerate(ordered, 1))
  shown = [(n, e) for n, e in numbered if e.picture is not None]
  names = next((tuple(e.because) for e in ordered if e.because), ())
  overall = inspection.mean_because(ordered, shares=True)
  shares = [e.shares for _, e in shown]
  return {
    "run": run,
    "sentences": defect_sentences,
    "pictures": defect_pictures,
    "accuracy": [
      (FIGURES.get(name, name), f"{value:.3f}")
      for name, value in run.accuracy.items()
    ],
    "summary": defect_sentences.counts(ordered),
    "thresholds": [
      defect_sentences.threshold_sentence(t)
      for t in dict.fromkeys(e.threshold for e in ordered)
    ],
    "drawing": defect_scores.draw(ordered),
    "categories": _rows(ordered, "category"),
    "kinds": _rows(ordered, "kind"),
    "splits": list(dict.fromkeys(e.split for e in ordered)),
    "labelled": any(e.kind is not None for e in ordered),
    "marked": any(e.truth is not None and e.truth.any() for _, e in shown),
    "sections": [
      _section("defective", [(n, e) for n, e in shown if e.defective], ordered),
      _section(
        "normal", [(n, e) for n, e in shown if not e.defective], ordered
      ),
    ],
    "mistakes": [(n, e) for n, e in numbered if e.wrong],
    "everything": numbered,
    "shown": {n for n, _ in shown},
    "order": [name for name in page.ORDER if name in names],
    "overall": overall,
    "overall_range": page.score_range([overall]),
    "share_range": page.score_range(shares),
    "control": defect_sentences.control(ordered),
    "meter": _meter(ordered),
    "main_reason": _main_reason,
    "by_share": _by_share,
    "cautions": cautions(ordered, run.mode),
  }


def cautions(
  inspections: Sequence[Inspection], mode: str = "fast"
) -> list[str]:
  """The cautions that apply; for `mode` see `presets.MODES`."""
  names = {name for e in inspections for name in e.because}
  found = [defect_sentences.BOX]
  if any(e.original and not e.original.whole for e in inspections):
    found.append(defect_sentences.SEEN)
  if any(e.prototypes for e in inspections):
    found.append(defect_sentences.ELSEWHERE)
  if names:
    found.append(defect_sentences.SHARES)
  if names and mode == "fast":
    found.append(sentences.FAST)
  if "brightness" in names:
    found.append(sentences.BRIGHTNESS)
  if "identity" in names:
    found.append(sentences.IDENTITY)
  return found


def _rows(
  inspections: Sequence[Inspection], by: str
) -> list[tuple[str, inspection.Tally]]:
  """Counts by category or kind, if there is more than one."""
  groups = inspection.grouped(inspections, by)
  if len(groups) < 2:
    return []
  return [(name, inspection.tally(group)) for name, group in groups.items()]


def _section(
  verdict: str,
  shown: Sequence[tuple[int, Inspection]],
  inspections: Sequence[Inspection],
) -> dict[str, Any]:
  """The shown images of one verdict, and the number of all its images."""
  wanted = verdict == "defective"
  count = sum(e.defective == wanted for e in inspections)
  return {"verdict": verdict, "images": shown, "count": count}


def _meter(inspections: Sequence[Inspection]) -> tuple[float, float]:
  """The range of the bars of scores, thresholds among them."""
  values = [x for e in inspections for x in (e.score, e.threshold.value)]
  values = [x for x in values if math.isfinite(x)]
  return min([0.0, *values]), max([1e-6, *values])


def _main_reason(e: Inspection) -> str:
  """The characteristic with the largest share; "none" if all are small."""
  own = {n: s for n, s in e.shares.items() if n in sentences.CHARACTERISTICS}
  if not own:
    return ""
  name, share = max(own.items(), key=lambda item: item[1])
  return (
    f"{sides.had(e.shares, name)} {defect_sentences.percent(share)}"
    if share >= sentences.HARDLY
    else "none"
  )


def _by_share(prototypes: Sequence[Intrinsic]) -> list[Intrinsic]:
  return sorted(prototypes, key=lambda p: (-p.share, p.number))
