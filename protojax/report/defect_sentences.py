"""Inspections in words: the verdict, the worst place, and what carries it.

The sentences say only what the numbers say. They stand on the page beside the
pictures, and in `report.txt` for readers who cannot see pictures.
"""

from collections.abc import Iterable, Mapping, Sequence
import math

import numpy as np
from scipy.special import betaincinv

from protojax.datasets.collection import NORMAL
from protojax.explain.inspection import (
  Inspection,
  Intrinsic,
  Threshold,
  tally,
  worst_first,
)
from protojax.report import sentences
from protojax.types import Box

# Largest error of the control that may come from rounding.
_CONTROL = 1e-3
# Of a defect, from which on a normal region is said to cover it.
_COVERS = 0.5
# Screen readers read it aloud, but not a hyphen.
_MINUS = "\N{MINUS SIGN}"

SHARES = (
  "A share says how much of the score of the worst place is gone when one"
  " characteristic of the whole image is changed. The shares need not add up"
  " to 100 %: the changes are not equally strong, they overlap, and a change"
  " can raise the score of a place, which gives a share below zero."
)
ELSEWHERE = (
  "The prototypes are taken from the image itself. A defect that fills most"
  " of the image can become a prototype and then looks normal."
)
BOX = (
  "The box marks the place with the highest score, not the outline of the"
  " defect; other places may have a high score, too."
)

SEEN = (
  "The network sees the middle of each image, and the pictures show this part"
  " alone: a defect outside of it is not found. seen_box in inspections.csv"
  " says which part it is, in pixels of the image."
)


def sentence(e: Inspection) -> str:
  """An inspection as one paragraph."""
  score, threshold = figures(e.score, e.threshold.value)
  texts = [
    f"{e.image}: {verdict(e)}. Score {score}, threshold {threshold} (at most"
    f" {percent(e.threshold.rate)} of normal images score higher)."
  ]
  if e.kind is not None:
    texts.append(f"{labelled(e)}.")
  texts.append(place(e))
  if e.because:
    texts.append(carried(e))
  if covering := [p for p in e.prototypes if p.share > 0]:
    texts.append(_divided(covering))
  return " ".join(texts)


def verdict(e: Inspection) -> str:
  """The verdict on the image, "defective" or "normal"."""
  return "defective" if e.defective else NORMAL


def labelled(e: Inspection) -> str:
  """Compares the verdict with the label, which must be known."""
  if not e.wrong:
    return f"Right: labelled {e.kind}"
  mistake = "False alarm" if e.defective else "Missed"
  return f"{mistake}: labelled {e.kind}"


def place(e: Inspection) -> str:
  """Where the worst place is, and whether a defect is marked there."""
  if e.worst is None:
    return "No place has a higher score than the others." + _hidden(e)
  found = f"The worst place is {where(e.worst, e.size)}"
  if e.original and not e.original.whole:
    found += " of what the network sees"
  if e.met is not None:
    how_much = "some" if e.met else "none"
    found += f"; {how_much} of the marked defect is in its box"
  return found + "." + _hidden(e)


def _hidden(e: Inspection) -> str:
  """How much of the marked defect the network does not see, if any."""
  share = e.original.hidden if e.original else None
  if not share:
    return ""
  return f" The network does not see {percent(share)} of the marked defect."


def where(box: Box, size: int) -> str:
  """A box in words, and its sides in shares of the image."""
  rows = _third((box.top + box.bottom) / 2 / size, "top", "bottom")
  columns = _third((box.left + box.right) / 2 / size, "left", "right")
  name = " ".join(filter(None, (rows, columns)))
  if rows and columns:
    name = name.replace("top", "upper").replace("bottom", "lower")
  sides = [round(100 * side / size) for side in box]
  return (
    f"{'at the ' + name if name else 'in the middle'}, {sides[1]} to"
    f" {sides[3]} % from the left and {sides[0]} to {sides[2]} % from the top"
  )


def carried(e: Inspection) -> str:
  """Which characteristics carry the anomaly of the worst place."""
  shares = e.shares
  if not shares:
    return "The score of its worst place is 0."
  text = f"The score there ({figure(e.worst_value)}) {reason(shares)}."
  control = shares.get("identity", 0.0)
  if not abs(control) <= _CONTROL:
    text += (
      f" The control is {percent(control)} where it should be 0: these shares"
      " were not measured well."
    )
  return text


def reason(shares: Mapping[str, float]) -> str:
  """The clause "is carried mainly by contrast (62 %), also by shape (9 %)".

  At least a quarter is "mainly", at least a twentieth "also", less is "hardly",
  and below minus a twentieth the score is higher without the characteristic.
  """
  mainly, also, hardly, against = sentences.weighed(shares, 1.0)
  clauses = []
  if mainly:
    clauses.append(f"is carried mainly by {_listed(mainly)}")
    if also:
      clauses.append(f"also by {_listed(also)}")
  elif also:
    clauses.append(f"is carried in part by {_listed(also)}")
  else:
    clauses.append("is carried by none of the five characteristics")
  if hardly:
    verb = "hardly matters" if len(hardly) == 1 else "hardly matter"
    names = sentences.join([name for name, _ in hardly])
    numbers = ", ".join(percent(share) for _, share in hardly)
    clauses.append(f"{names} {verb} ({numbers})")
  if against:
    clauses.append(f"it would be higher without {_listed(against)}")
  return "; ".join(clauses)


def holds_the_worst(e: Inspection) -> int | None:
  """The prototype whose region has most of the worst place of an image.

  None if the image is found normal, or its place or its regions are unknown.
  """
  if not e.defective or e.worst is None or e.assignment is None:
    return None
  rows, columns = e.assignment.shape
  top, bottom = (y * rows / e.size for y in (e.worst.top, e.worst.bottom))
  left, right = (x * columns / e.size for x in (e.worst.left, e.worst.right))
  own = e.assignment[
    int(top) : max(math.ceil(bottom), int(top) + 1),
    int(left) : max(math.ceil(right), int(left) + 1),
  ]
  return int(np.bincount(own.ravel()).argmax()) if own.size else None


def suspicion(e: Inspection, number: int) -> str:
  """Why a prototype of an image may be the defect itself; "" if it need not.

  That is so where its region covers half of the marked defect or, where none is
  marked, holds the worst place of an image that is found defective.
  """
  if e.truth is not None and e.truth.any() and e.assignment is not None:
    rows, columns = (
      np.arange(side) * cells // side
      for side, cells in zip(e.truth.shape, e.assignment.shape, strict=True)
    )
    inside = e.assignment[rows[:, None], columns[None]] == number
    share = float(inside[e.truth].mean())
    if share < _COVERS:
      return ""
    return f"covers {percent(share)} of the marked defect, as if it were normal"
  if number != holds_the_worst(e):
    return ""
  return "the worst place is in it: what counts as normal may be the defect"


def control(inspections: Iterable[Inspection]) -> str:
  """Whether the control is 0 in all images; "" if there is no control."""
  found = [abs(e.shares["identity"]) for e in inspections if _has_control(e)]
  if not found:
    return ""
  # nan, too, is not small.
  much = [share for share in found if not share <= _CONTROL]
  if not much:
    return "The control, the images put in unchanged, is 0 everywhere."
  return (
    f"The control, the images put in unchanged, is not 0 for {len(much)} of"
    f" {len(found)} images: their shares were not measured well."
  )


def threshold_sentence(threshold: Threshold) -> str:
  """How a threshold was chosen, and the bound of its rate."""
  images = (
    "1 normal image"
    if threshold.images == 1
    else (f"{threshold.images} normal images")
  )
  return (
    f"The threshold {figure(threshold.value)} was chosen on {images} that the"
    " model was not trained on, so that at most"
    f" {percent(threshold.rate)} of normal images are expected to score"
    " higher. With this number of images, the true share is below"
    f" {percent(rate_bound(threshold))} with 95 % confidence, if new images are"
    " taken in the same way."
  )


def rate_bound(threshold: Threshold) -> float:
  """A false-positive rate that is not exceeded, with a confidence of 95 %.

  The threshold is the k-th largest of n normal scores. The share of all
  normal images above it is then distributed as Beta(k, n + 1 - k), whatever
  the distribution of the scores is.
  """
  count = threshold.images + 1
  rank = min(max(round(threshold.rate * count), 1), threshold.images)
  return float(betaincinv(rank, count - rank, 0.95))


def counts(inspections: Sequence[Inspection]) -> str:
  """How many images were found defective, and how many wrongly."""
  all_ = tally(inspections)
  images = "1 image" if all_.images == 1 else f"{all_.images} images"
  texts = [f"{all_.found} of {images} found defective."]
  if all_.normal:
    texts.append(
      f"{all_.false_alarms} of {all_.normal} normal images are false alarms."
    )
  if all_.defective:
    texts.append(
      f"{all_.missed} of {all_.defective} defective images were missed."
    )
  return " ".join(texts)


def document(
  title: str, inspections: Iterable[Inspection], cautions: Sequence[str]
) -> str:
  """All inspections as text, the worst first."""
  inspections = worst_first(inspections)
  thresholds = dict.fromkeys(e.threshold for e in inspections)
  paragraphs = [
    title,
    counts(inspections),
    *map(threshold_sentence, thresholds),
  ]
  paragraphs += map(sentence, inspections)
  return "\n\n".join([*paragraphs, *cautions]) + "\n"


def percent(share: float) -> str:
  """A percentage: whole, or two figures below ten; no minus before zero."""
  hundredths = 100 * share
  if abs(hundredths) < 0.005:
    hundredths = 0.0
  digits = ".0f" if abs(hundredths) >= 9.95 else ".2g"
  return f"{hundredths:{digits}} %".replace("-", _MINUS)


def figure(value: float, digits: int = 3) -> str:
  """A score, to three figures or more."""
  written = f"{value:#.{digits}g}".rstrip(".")
  return written.replace("-", _MINUS)


def figures(score: float, threshold: float) -> tuple[str, str]:
  """Both to three figures, or to more if they are needed to differ."""
  digits = 3
  while digits < 9 and score != threshold:
    if f"{score:.{digits}g}" != f"{threshold:.{digits}g}":
      break
    digits += 1
  return figure(score, digits), figure(threshold, digits)


def _has_control(e: Inspection) -> bool:
  return "identity" in e.shares


def _divided(prototypes: Sequence[Intrinsic]) -> str:
  shares = sorted((p.share for p in prototypes), reverse=True)
  if len(shares) == 1:
    return "Its own normal prototypes: a single one covers the image."
  return (
    f"Its own {len(shares)} normal prototypes cover"
    f" {sentences.join([percent(share) for share in shares])} of the image."
  )


def _third(at: float, first: str, last: str) -> str:
  if at < 1 / 3:
    return first
  return last if at > 2 / 3 else ""


def _listed(shares: Sequence[tuple[str, float]]) -> str:
  return sentences.join(
    [f"{name} ({percent(share)})" for name, share in shares]
  )
