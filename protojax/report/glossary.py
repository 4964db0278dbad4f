"""Glossary: explains the terms of the report, its flags and its statistics.

It is for readers who are new to prototypes. `sentences` has the texts that
change with the numbers.
"""

from collections.abc import Mapping
from typing import NamedTuple

from protojax.explain.evidence import GlobalExplanation, Redundancy

# From this share of its nearest patches on, a prototype is called misleading.
MISLEADING = 0.5

# Kind of the groups -> what the prototypes are, and what their scores are.
PROTOTYPES = {
  "class": "patches of training images, each the property of one class",
  "concept": (
    "learned pictures of a concept, each shown by the training patch that is"
    " most like it"
  ),
  "favourite": (
    "channels of the network, each shown by the training patch that it fires"
    " most for and sorted under the class that it speaks most for"
  ),
}
SCORES = {
  "class": "Similarity",
  "concept": "Similarity",
  "favourite": "How much a channel fires over the whole image",
}

# Notes that methods give on prototypes.
NOTES = {
  "kind": (
    "Trivial: as far from other classes as may be. Support: close to them, yet"
    " told apart. Free vector: learned, and not itself a patch."
  ),
  "boundary distance": (
    "How far it is from where another class would have as many points: small"
    " for a prototype that decides between classes that are alike."
  ),
  "purity": (
    "How far the patches that it fires most for fire in no other channel: 1 is"
    " alone. Before: as the classifier was trained."
  ),
  "vectors": "How often it is the nearest one to the concept in an image.",
}

CHANGES = {
  "hue": "All colours are turned along the colour circle.",
  "shape": "Outlines are bent: straight lines no longer are.",
  "texture": "Fine grain is smoothed away; edges stay.",
  "contrast": "Light and dark are brought closer together.",
  "saturation": "Colours are made paler.",
  "brightness": "Everything is made darker.",
}

FLAGS = {
  "misleading": (
    "At least half of its nearest patches are alike to the model by what looks"
    " different to the eye. To guess from the pictures why they are alike would"
    " be wrong: read the bars."
  ),
  "duplicate": (
    "The very same patch as an earlier prototype, so that it adds points but"
    " no reason of its own."
  ),
  "redundant": (
    "Others find the same images alike for the same reasons, so that one of"
    " them would be enough."
  ),
  "stale": (
    "It has moved since it was made equal to its patch, so the picture no"
    " longer shows exactly what it is."
  ),
}


class Statistic(NamedTuple):
  """The name of a statistic, and its meaning for a new reader."""

  heading: str
  meaning: str


STATISTICS = {
  "prototypes": Statistic("Prototypes", "How many have a score."),
  "missing": Statistic(
    "Without a score", "Prototypes that no image is like at all."
  ),
  "mean": Statistic("Mean", "Of the scores of all prototypes."),
  "interval": Statistic(
    "95 % interval",
    "Other images of the same kind would very likely give a figure in here.",
  ),
  "std": Statistic(
    "Standard deviation", "How much the prototypes differ from each other."
  ),
  "relative": Statistic(
    "Mean share", "The part of the likeness that is lost: 0.25 is a quarter."
  ),
  "minimum": Statistic("Lowest score", "Of any prototype."),
  "maximum": Statistic("Highest score", "Of any prototype."),
  "smallest": Statistic("Lowest: prototype", "Which one it is."),
  "largest": Statistic("Highest: prototype", "Which one it is."),
  "shapiro_w": Statistic(
    "Shapiro-Wilk W", "How bell-shaped the histogram is: 1 is a perfect bell."
  ),
  "shapiro_p": Statistic(
    "Shapiro-Wilk p",
    "Small: not a bell. With many prototypes it always is small; go by W.",
  ),
  "difference": Statistic(
    "Mean difference", "Train minus test, prototype by prototype."
  ),
  "welch_t": Statistic(
    "Welch t", "The difference of the means, measured in its own uncertainty."
  ),
  "welch_df": Statistic(
    "Welch degrees of freedom", "How much data that uncertainty rests on."
  ),
  "welch_p": Statistic(
    "Welch p",
    "Small: the means differ. Large proves nothing; that is what the"
    " equivalence is for.",
  ),
  "margin": Statistic(
    "Margin", "A difference below this would not matter to anyone."
  ),
  "tost_p": Statistic(
    "Equivalence p", "Small: the two are the same, up to the margin."
  ),
  "pearson": Statistic(
    "Pearson correlation",
    "1: a prototype’s score on one split tells that on the other; 0: nothing.",
  ),
  "spearman": Statistic(
    "Spearman correlation", "The same for the order of the prototypes alone."
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


def change(name: str) -> str:
  """How a modification changes images; empty if unknown."""
  return CHANGES.get(name, "")


def strongest(scores: Mapping[str, float], names) -> str:
  """The name with the largest score, if that is above 0; else "none"."""
  known = {n: scores[n] for n in names if scores.get(n, 0.0) > 0}
  return max(known, key=known.__getitem__, default="none")
