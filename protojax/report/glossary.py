"""Glossary: explains the terms of the report, its flags and its statistics.

It is for readers who are new to prototypes. `sentences` has the texts that
change with the numbers.
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

from protojax.explain.evidence import GlobalExplanation, Patch, Redundancy
from protojax.modify import presets

# From this share of its nearest patches on, a prototype is called misleading.
MISLEADING = 0.5

# With less of its box on an object, a prototype looks at the background.
_OBJECT = 0.25

# Kind of the groups -> what the prototypes are, and what their scores are.
PROTOTYPES = {
  "class": "patches of training images; each belongs to one class",
  "concept": (
    "learned vectors of a concept; each is shown by the training patch that is"
    " most similar to it"
  ),
  "favourite": (
    "channels of the network; each is shown by the training patch that"
    " activates it most, and sorted under the class of its largest weight"
  ),
}
SCORES = {
  "class": "Similarity",
  "concept": "Similarity",
  "favourite": "The activation of a channel over the whole image",
}

CHANGES = {
  "hue": "All colours are turned along the colour circle.",
  "shape": "Outlines are bent: straight lines become wavy.",
  "texture": "Fine grain is smoothed away; edges stay.",
  "contrast": "Light and dark are brought closer together.",
  "saturation": "Colours are made paler.",
  "brightness": "Everything is made darker.",
}

# The same of presets that change a characteristic in two directions.
CHANGES_BOTH_WAYS = {
  "hue": "All colours are turned along the colour circle, either way.",
  "shape": "Outlines are bent, in long waves and in short ones.",
  "texture": "Fine grain is smoothed away, and grain is added.",
  "contrast": "Light and dark are brought closer together, and farther apart.",
  "saturation": "Colours are made paler, and stronger.",
}

FLAGS = {
  "misleading": (
    "At least half of its nearest patches are similar to the model because of"
    " the characteristic that stands out, and look more different in it than"
    " 95 % of the pairs of one class. Do not guess the reason from the"
    " pictures; read the bars."
  ),
  "duplicate": (
    "The same patch as an earlier prototype. It adds points, but no new reason."
  ),
  "redundant": (
    "Other prototypes are similar to the same images for the same reasons, so"
    " one of them is enough."
  ),
  "stale": (
    "It has changed since it was made equal to its patch, so the picture does"
    " not show exactly what it is now."
  ),
}


class Statistic(NamedTuple):
  """The name of a statistic, and its meaning for a new reader."""

  heading: str
  meaning: str


STATISTICS = {
  "prototypes": Statistic("Prototypes", "How many have a score."),
  "missing": Statistic(
    "Without a score", "Prototypes that no image is similar to."
  ),
  "mean": Statistic("Mean", "Of the scores of all prototypes."),
  "interval": Statistic(
    "95 % interval",
    "Other images of the same kind would very likely give a value in it.",
  ),
  "std": Statistic(
    "Standard deviation", "How much the prototypes differ from each other."
  ),
  "relative": Statistic(
    "Mean share", "The share of the similarity that is lost: 0.25 is a quarter."
  ),
  "minimum": Statistic("Lowest score", "Of any prototype."),
  "maximum": Statistic("Highest score", "Of any prototype."),
  "smallest": Statistic("Lowest: prototype", "Which one it is."),
  "largest": Statistic("Highest: prototype", "Which one it is."),
  "shapiro_w": Statistic(
    "Shapiro-Wilk W",
    "How close the scores are to a normal distribution; 1: equal.",
  ),
  "shapiro_p": Statistic(
    "Shapiro-Wilk p",
    "Small: not normal. It is always small with many prototypes; use W.",
  ),
  "difference": Statistic(
    "Mean difference", "Train minus test, prototype by prototype."
  ),
  "welch_t": Statistic(
    "Welch t", "The difference of the means, divided by its standard error."
  ),
  "welch_df": Statistic(
    "Welch degrees of freedom", "How much data the standard error is based on."
  ),
  "welch_p": Statistic(
    "Welch p",
    "Small: the means differ. Large: this proves nothing; see the equivalence.",
  ),
  "margin": Statistic("Margin", "A smaller difference counts as none."),
  "tost_p": Statistic(
    "Equivalence p", "Small: the two are the same, up to the margin."
  ),
  "pearson": Statistic(
    "Pearson correlation",
    "1: the scores on one split predict those on the other; 0: they do not.",
  ),
  "spearman": Statistic(
    "Spearman correlation", "The same for the ranks of the prototypes."
  ),
  "same_first": Statistic(
    "Same first characteristic",
    "Share of prototypes whose strongest characteristic is the same in both.",
  ),
}


def statistic(name: str) -> Statistic:
  """The entry of a statistic; only its name if it is not listed."""
  bare = Statistic(name.replace("_", " ").capitalize(), "")
  return STATISTICS.get(name, bare)


def flags(e: GlobalExplanation) -> dict[str, str]:
  """The flags of a prototype: name -> text."""
  found = {}
  if e.misleading is not None and e.misleading >= MISLEADING:
    found["misleading"] = (
      f"misleading: {e.misleading:.0%} of its nearest patches are alike for a"
      " reason the eye does not see"
    )
  if e.duplicate_of is not None:
    found["duplicate"] = f"same patch as {e.duplicate_of}"
  elif e.redundant_with:
    others = ", ".join(map(str, e.redundant_with))
    found["redundant"] = f"says nearly the same as {others}"
  if e.stale:
    found["stale"] = "stale: moved since its patch was chosen"
  return found


def where(patch: Patch, side: int) -> str:
  """Whether a prototype looks at its object or past it; "" if unknown.

  Where no object is marked, a prototype at the border is told: there the
  network sees its own padding, and seldom the object.

  Args:
    patch: of the prototype.
    side: of the network's input, in pixels.
  """
  if patch.on_object is not None:
    share = f"{100 * patch.on_object:.0f} % of its box"
    if patch.on_object < _OBJECT:
      return f"It looks at the background: {share} is on a marked object."
    return f"{share[0].upper()}{share[1:]} is on a marked object."
  top, left, bottom, right = patch.box
  near = side / 32
  rows = (top <= near) + (bottom >= side - near)
  columns = (left <= near) + (right >= side - near)
  if not rows + columns:
    return ""
  place = "a corner" if rows == 1 and columns == 1 else "the edge"
  away = min(top, left, side - bottom, side - right) / side
  distance = (
    f"is {100 * away:.0f} % of the side away from" if away else "touches"
  )
  return f"It looks at {place} of its image: its box {distance} the border."


def merging(redundancy: Redundancy) -> str:
  """How many prototypes could go, and the accuracy without them."""
  spare = sum(len(g.prototypes) - 1 for g in redundancy.groups)
  if not spare:
    return "No prototype says nearly the same as another."
  return (
    f"{spare:,} prototype{'s' if spare > 1 else ''} could go: with one of each"
    " group, which takes over the weights of the others, the model recognises"
    f" {redundancy.merged_accuracy:.1%} of the test images instead of"
    f" {redundancy.accuracy:.1%}."
  )


def change(name: str, modified: Container[str]) -> str:
  """How a modification changes images; empty if unknown.

  Args:
    name: of the modification.
    modified: the names of all modifications of the preset.
  """
  if any(of == name and side in modified for side, of in presets.SIDES.items()):
    return f"{CHANGES_BOTH_WAYS[name]} The score is the larger loss of the two."
  return CHANGES.get(name, "")


def strongest(scores: Mapping[str, float], names) -> str:
  """The name with the largest score, if that is above 0; else "none"."""
  known = {n: scores[n] for n in names if scores.get(n, 0.0) > 0}
  return max(known, key=known.__getitem__, default="none")
