"""Explanations in words: ranked lists, sentences and what to be careful about.

The lists have the form of "This Looks Like That, Because ..." (Figure 1 and the
authors' notebooks); the sentences are ours. Only the five characteristics are
in sentences, without brightness and the identity control.
"""

from collections.abc import Iterable, Mapping
import dataclasses
import math
from typing import NamedTuple

from protojax.explain.evidence import (
  Evidence,
  GlobalExplanation,
  LocalExplanation,
)
from protojax.modify import sides
from protojax.modify.modification import CHARACTERISTICS
from protojax.prototypes.groups import Note

# Least shares of the similarity for "mainly" and for "also"; less is "hardly".
MAINLY = 0.25
HARDLY = 0.05

RECEPTIVE_FIELD = (
  "The box marks where the similarity map is highest. The network sees more"
  " than the box: a cell sees its receptive field, the dashed outline, which is"
  " often the whole image."
)
COMPARE = (
  "Compare one characteristic between prototypes, not the characteristics of"
  " one prototype: the changes are not equally strong."
  " The sine warp (shape) makes jagged edges and counts in every model;"
  " texture means fine, weak grain only; with the preset reference, lower"
  " contrast also makes colours paler."
)
BRIGHTNESS = (
  "Brightness is not one of the five characteristics. It stands beside them"
  " because changes of hue, saturation and contrast also change it a little."
)
IDENTITY = (
  "Identity is the control: the image is put in unchanged, so its score must"
  " be 0. Anything else would be an error of measurement."
)
OWN_IMAGE = (
  "Each prototype was taken from a patch of a training image. There the"
  " similarity is largest, so this one image has the largest weight in the"
  " training score. The score without this image stands beside it."
)
FAST = (
  "The changes are made to images at the size of the network's input, not"
  " to the originals; scores of the two ways must not be mixed."
)


class Weighed(NamedTuple):
  """Characteristics and scores by their shares, each the largest first."""

  mainly: list[tuple[str, float]]
  also: list[tuple[str, float]]
  hardly: list[tuple[str, float]]
  against: list[tuple[str, float]]


def ranked(because: Mapping[str, float]) -> str:
  """The five characteristics by falling local score, four decimals.

  The form of Figure 1: "Hue 2.2473, Shape 1.0077, Texture .7546".
  """
  return ", ".join(
    f"{name.capitalize()} {_bare(score)}" for name, score in _sorted(because)
  )


def important(because: Mapping[str, float]) -> str:
  """A numbered list of global scores, five decimals, in two parts.

  Characteristics are unimportant from the first negative score on (the authors'
  notebook of version 1).
  """
  lines = ["IMPORTANT"]
  negative = False
  for rank, (name, score) in enumerate(_sorted(because), 1):
    if score < 0 and not negative:
      lines.append("UNIMPORTANT")
      negative = True
    lines.append(f"{rank}. {name} {score:z.5f}")
  return "\n".join(lines)


def local_sentence(row: Evidence) -> str:
  """What costs this patch most of its similarity to that prototype."""
  start = (
    f"This patch has a similarity of {_word(row.similarity)} to prototype"
    f" {row.prototype}"
  )
  # Names of a sweep over strengths are no characteristics.
  found = _sorted(row.because)
  if not found:
    return f"{start}."
  name, score = found[0]
  if score <= 0:
    return f"{start}; no change of a characteristic costs any of it."
  changed = sides.changed(row.because, name)
  return (
    f"{start}; it loses most {changed} ({_word(score)})"
    f"{_reason(row.because, name)}."
  )


def global_sentence(explained: GlobalExplanation, split: str) -> str:
  """What costs images of a split most similarity, and what is unusual.

  Prototypes are compared over the last split, and only there it is said.
  """
  because = explained.because[split]
  if split != list(explained.because)[-1]:
    explained = dataclasses.replace(explained, standings={}, usual="")
  if not math.isfinite(because.similarity):
    return f"No {split} image is like prototype {explained.prototype} at all."
  said = (
    f"Over the {split} images, the similarity to prototype"
    f" {explained.prototype} is {_word(because.similarity)} on average."
  )
  found = _sorted(because.scores)
  if not found:
    return said
  if found[0][1] <= 0:
    said += " No change of a characteristic costs any of it."
  else:
    said += f" {_costs_most(explained, because.scores, *found[0])}"
  return f"{said} {standing_out(explained)}".rstrip()


def _costs_most(
  explained: GlobalExplanation,
  scores: Mapping[str, float],
  name: str,
  score: float,
) -> str:
  """What costs most similarity, and whether it does for most prototypes."""
  costs = f"costs most of it ({_word(score)}){_reason(scores, name)}"
  if name == explained.usual:
    return f"As for most prototypes here, {name} {costs}."
  usual = f"; for most it is {explained.usual}" if explained.usual else ""
  return f"{name.capitalize()} {costs}{usual}."


def standing_out(explained: GlobalExplanation, whose: str = "") -> str:
  """What is unusual for a prototype among those of its model; "" if unknown.

  Args:
    explained: the prototype.
    whose: it is in the sentence, such as " for the first of them".
  """
  if not explained.standings:
    return ""
  if not explained.stands_out:
    return f"Nothing stands out{whose} among the prototypes of this model."
  name = explained.stands_out
  standing = explained.standings[name]
  scores = list(explained.because.values())[-1].scores
  return (
    f"What stands out{whose} is {name}{_reason(scores, name)}: it costs more"
    f" than for {standing.percentile:.0f} % of the prototypes"
    f" ({standing.low:.0f} to {standing.high:.0f} % with other images of the"
    " kind)."
  )


def _reason(scores: Mapping[str, float], name: str) -> str:
  """The clause ", because it is smooth"; "" if no direction is known."""
  if not sides.told(scores, name):
    return ""
  return f", {sides.because(scores, name)}"


def weighed(because: Mapping[str, float], total: float) -> Weighed:
  """The five characteristics by their shares of a total."""
  found = Weighed([], [], [], [])
  for name, score in _sorted(because):
    share = score / total
    name = sides.had(because, name)
    if share >= MAINLY:
      found.mainly.append((name, score))
    elif share >= HARDLY:
      found.also.append((name, score))
    elif share > -HARDLY:
      found.hardly.append((name, score))
    else:
      found.against.append((name, score))
  return found


def join(words: Iterable[str]) -> str:
  """Words as a list in a sentence: "hue, shape and texture"."""
  *most, last = words
  return f"{', '.join(most)} and {last}" if most else last


def document(
  prototypes: Iterable[GlobalExplanation], images: Iterable[LocalExplanation]
) -> str:
  """All explanations as text: sentences, lists and scoring sheets."""
  paragraphs = [
    _about_prototype(e) for e in prototypes if e.alive and e.because
  ]
  paragraphs += [_about_image(e) for e in images]
  return "\n\n".join(paragraphs) + "\n"


def _about_prototype(explained: GlobalExplanation) -> str:
  lines = [f"Prototype {explained.prototype}: {explained.group}"]
  if explained.patch is not None:
    lines.append(f"from {explained.patch.image}")
  if explained.notes:
    lines.append(
      ", ".join(f"{n} {_noted(x)}" for n, x in explained.notes.items())
    )
  for split, because in explained.because.items():
    lines += [global_sentence(explained, split), important(because.scores)]
  return "\n".join(lines)


def _noted(note: Note) -> str:
  return note if isinstance(note, str) else f"{note:.2f}"


def _about_image(explained: LocalExplanation) -> str:
  best, scores = explained.predicted, scoring_sheet(explained)
  lines = [
    f"{explained.image}: {best.class_name}, probability"
    f" {best.probability:.3f}, logit {scores.logit}"
  ]
  if explained.unfamiliar:
    lines.append(explained.unfamiliar)
  for row, line in zip(explained.evidence, scores.rows, strict=True):
    lines.append(
      f"{line.points} = {line.product}: prototype {line.prototype}"
      f" ({line.group}); {ranked(row.because)}"
    )
  if scores.spoken:
    lines.append(f"{scores.others} from {scores.spoken} other prototypes")
  if scores.silent:
    lines.append(f"{scores.silent} with less than 0.005 points each")
  if scores.bias is not None:
    lines.append(f"{scores.bias} bias of the class")
  return "\n".join(lines)


class ScoringSheetRow(NamedTuple):
  """One row of a scoring sheet, as text."""

  prototype: int
  group: str
  product: str
  points: str


class ScoringSheet(NamedTuple):
  """A scoring sheet as text: its points sum to the logit.

  Attributes:
    factor: that the weights multiply: "similarity", or "score" if it differs.
    rows: the listed prototypes; of the runner-up, those that have points.
    others: points of all other prototypes together.
    spoken: how many of these have points of this class.
    silent: how many have none, to two decimals.
    bias: of the class; None if it is 0.
    logit: the sum.
  """

  factor: str
  rows: tuple[ScoringSheetRow, ...]
  others: str
  spoken: int
  silent: int
  bias: str | None
  logit: str


def scoring_sheet(explained: LocalExplanation, answer: int = 0) -> ScoringSheet:
  """The points of the predicted class (answer 0) or the runner-up (1).

  The row of the others gets the error of rounding, so that the column adds up
  as printed. If there are no others, the first row gets it. The rows are those
  that carry the answer; of the runner-up, those without points are counted.
  """
  weights = [
    row.runner_up_weight if answer else row.weight for row in explained.evidence
  ]
  hundredths = [
    round(100 * row.score * weight)
    for row, weight in zip(explained.evidence, weights, strict=True)
  ]
  logit = round(100 * explained.answers[answer].logit)
  bias = round(100 * explained.answers[answer].bias)
  others = logit - bias - sum(hundredths)
  if not explained.others and hundredths:
    hundredths[0] += others
    others = 0
  rows = tuple(
    ScoringSheetRow(
      row.prototype,
      row.group,
      f"{_two(row.score)} × {_two(weight)}",
      _two(points / 100),
    )
    for row, weight, points in zip(
      explained.evidence, weights, hundredths, strict=True
    )
  )
  # Of the others it is known for the answer alone.
  silent, others_silent = explained.silent, explained.silent
  if answer:
    spoken = tuple(r for r, n in zip(rows, hundredths, strict=True) if n)
    silent, others_silent = len(rows) - len(spoken), 0
    rows = spoken
  own = all(row.score == row.similarity for row in explained.evidence)
  return ScoringSheet(
    "similarity" if own else "score",
    rows,
    _two(others / 100),
    explained.others - others_silent,
    silent,
    _two(bias / 100) if bias else None,
    _two(logit / 100),
  )


def _sorted(because: Mapping[str, float]) -> list[tuple[str, float]]:
  """The characteristics with their scores, the largest first."""
  own = [(name, because[name]) for name in CHARACTERISTICS if name in because]
  return sorted(own, key=lambda item: -item[1])


def _two(score: float) -> str:
  """Two decimals, without a minus before zero."""
  return f"{score:z.2f}"


def _word(score: float) -> str:
  """The same in a sentence, with a minus sign."""
  return _two(score).replace("-", "\N{MINUS SIGN}")


def _bare(score: float) -> str:
  """Four decimals, without the zero before the point."""
  written = f"{score:z.4f}"
  return written.replace("0.", ".", 1) if abs(score) < 1 else written
