"""Explanations in words: ranked lists, sentences and what to be careful about.

The lists have the form of "This Looks Like That, Because ..." (Figure 1 and the
authors' notebooks); the sentences are ours. Only the five characteristics are
in sentences, without brightness and the identity control.
"""

from collections.abc import Iterable, Mapping
import math
from typing import NamedTuple

from protojax.explain.evidence import (
  Evidence,
  GlobalExplanation,
  LocalExplanation,
)
from protojax.modify import presets
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
  " lower contrast also makes colours paler; texture means fine, weak grain"
  " only."
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


# Modification of the preset "two_sided" -> what an image has that loses by it.
SIDES = {
  "less contrast": "strong contrast",
  "more contrast": "weak contrast",
  "less saturation": "strong colours",
  "more saturation": "pale colours",
  "less texture": "grain",
  "more texture": "smoothness",
}


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
  return (
    f"{start}; {side(row.because, name)} costs most of it ({_word(score)})."
  )


def global_sentence(explained: GlobalExplanation, split: str) -> str:
  """Why images of a split look like a prototype."""
  because = explained.because[split]
  if not math.isfinite(because.similarity):
    return f"No {split} image is like prototype {explained.prototype} at all."
  if explained.standings:
    return f"{_costs_most(explained, split)} {standing_out(explained)}"
  return (
    f"Over the {split} images, patches look like prototype"
    f" {explained.prototype} (mean similarity {_word(because.similarity)})"
    f" {reason(because.scores, because.similarity)}."
  )


def _costs_most(explained: GlobalExplanation, split: str) -> str:
  """What costs most similarity, and whether it does for most prototypes."""
  because = explained.because[split]
  name, score = _sorted(because.scores)[0]
  start = (
    f"Over the {split} images, the similarity to prototype"
    f" {explained.prototype} is {_word(because.similarity)} on average;"
  )
  if score <= 0:
    return f"{start} no change of a characteristic costs any of it."
  said = (
    f"{start} {side(because.scores, name)} costs most of it ({_word(score)})"
  )
  if not explained.usual:
    return f"{said}."
  if name == explained.usual:
    return f"{said}, as for most prototypes here."
  return f"{said}, where for most prototypes here it is {explained.usual}."


def standing_out(explained: GlobalExplanation) -> str:
  """What is unusual for a prototype among those of its model."""
  if not explained.stands_out:
    return "Nothing stands out among the prototypes of this model."
  standing = explained.standings[explained.stands_out]
  scores = list(explained.because.values())[-1].scores
  return (
    f"What stands out is {side(scores, explained.stands_out)}: it costs more"
    f" than for {standing.percentile:.0f} % of the prototypes"
    f" ({standing.low:.0f} to {standing.high:.0f} % with other images of the"
    " kind)."
  )


def reason(because: Mapping[str, float], similarity: float) -> str:
  """The clause "mainly because of hue (2.25), ...; contrast hardly matters".

  By shares of the similarity g: at least a quarter is "mainly", at least a
  twentieth "also", less is "hardly", and below minus a twentieth the patch is
  more similar without the characteristic.
  """
  mainly, also, hardly, against = weighed(because, max(abs(similarity), 1e-6))
  clauses = []
  if mainly:
    clauses.append("mainly because of " + _chain(mainly))
    if also:
      clauses.append("also " + _listed(also))
  elif also:
    clauses.append("in part because of " + _listed(also))
  else:
    clauses.append("for no reason among the five characteristics")
  if hardly and (mainly or also):
    verb = "hardly matters" if len(hardly) == 1 else "hardly matter"
    names = join([name for name, _ in hardly])
    scores = ", ".join(_word(score) for _, score in hardly)
    clauses.append(f"{names} {verb} ({scores})")
  if against:
    clauses.append("it would be even more similar without " + _listed(against))
  return "; ".join(clauses)


def side(because: Mapping[str, float], name: str) -> str:
  """What a characteristic is in an image, such as "grain" or "smoothness".

  By the direction of change that costs more similarity; the characteristic
  itself if it was changed in one direction, or has no word for the other.
  """
  sides = [s for s, of in presets.SIDES.items() if of == name and s in because]
  if not sides:
    return name
  return SIDES.get(max(sides, key=lambda s: because[s]), name)


def weighed(because: Mapping[str, float], total: float) -> Weighed:
  """The five characteristics by their shares of a total."""
  found = Weighed([], [], [], [])
  for name, score in _said(because):
    share = score / total
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
    rows: the listed prototypes.
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
  as printed. If there are no others, the first row gets it.
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
  # It is known for the answer alone.
  silent = 0 if answer else explained.silent
  own = all(row.score == row.similarity for row in explained.evidence)
  return ScoringSheet(
    "similarity" if own else "score",
    rows,
    _two(others / 100),
    explained.others - silent,
    silent,
    _two(bias / 100) if bias else None,
    _two(logit / 100),
  )


def _sorted(because: Mapping[str, float]) -> list[tuple[str, float]]:
  """The characteristics with their scores, the largest first."""
  own = [(name, because[name]) for name in CHARACTERISTICS if name in because]
  return sorted(own, key=lambda item: -item[1])


def _said(because: Mapping[str, float]) -> list[tuple[str, float]]:
  """The same in words: what has two sides is named by the larger one."""
  return [(side(because, name), score) for name, score in _sorted(because)]


def _chain(scores: list[tuple[str, float]]) -> str:
  return ", then ".join(f"{name} ({_word(score)})" for name, score in scores)


def _listed(scores: list[tuple[str, float]]) -> str:
  return join([f"{name} ({_word(score)})" for name, score in scores])


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
