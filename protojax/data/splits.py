"""Draws the splits of a data set: the same seed draws the same images."""

from collections.abc import Sequence
import hashlib
import os

from jaxtyping import Int
import numpy as np

from protojax.data import columns, fields
from protojax.data.source import Source, Subset, subset
from protojax.types import UserError

SPLITS = ("train", "validation", "test")


def held_out(names: Sequence[str], fraction: float, seed: int) -> list[int]:
  """Draws names to hold out: at least one, never all.

  A name keeps its rank in the draw when other names come or go. Equal names are
  one: they are held out together.

  Args:
    names: of the images of one class; two or more that are not equal.
    fraction: the share to hold out, between 0 and 1.
    seed: of the draw.

  Returns:
    Positions of the drawn names in `names`, in order.
  """
  ranked = sorted(dict.fromkeys(names), key=lambda name: draw(seed, name))
  count = min(max(round(len(ranked) * fraction), 1), len(ranked) - 1)
  held = set(ranked[:count])
  return [i for i, name in enumerate(names) if name in held]


def draw(seed: int, name: str) -> bytes:
  """A random rank of one file; it depends on the seed and the name alone."""
  key = int(seed).to_bytes(16, "little", signed=True)
  return hashlib.blake2b(os.fsencode(name), key=key).digest()


def divided(
  source: Source, fraction: float, seed: int
) -> tuple[Subset, Subset]:
  """Divides training examples into a training and a validation subset.

  A share of each class is held out; of a class with one example, none is. If
  the source has groups, a share of the groups of each class is held out, each
  with all that belongs to it; the class of a group is that of most of it. If
  examples have no class, such as those with several labels, a share of all is
  held out.

  Args:
    source: the training examples.
    fraction: the share of each class that is held out.
    seed: of the draw.

  Raises:
    UserError: the share is not between 0 and 1, or no class has two images.
  """
  if not 0 < fraction < 1:
    raise UserError(
      f"--config.data.validation_fraction={fraction} leaves a split empty; give"
      " a share between 0 and 1, or 0 to hold nothing out"
    )
  units, labels = columns.groups(source), _labels(source)
  if units is None:
    units = np.arange(len(source))
  else:
    labels = _of_groups(units, labels)
  held: list[int] = []
  for label in range(max(len(source.class_names), 1)):
    members = np.flatnonzero(labels == label)
    names = [str(unit) for unit in units[members]]
    if len(set(names)) > 1:
      held += members[held_out(names, fraction, seed)].tolist()
  if not held:
    raise UserError(
      "no class has two training images, of which one could be held out to"
      " validate on: set --config.data.validation_fraction=0"
    )
  rest = np.setdiff1d(np.arange(len(source)), held)
  return subset(source, rest), subset(source, sorted(held))


def _labels(source: Source) -> Int[np.ndarray, "n"]:
  if source.class_names and "label" in fields.of(source):
    return columns.labels(source)
  return np.zeros(len(source), np.int32)


def _of_groups(
  groups: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]
) -> Int[np.ndarray, "n"]:
  """The most frequent label of each example's group; -1 if none is known."""
  _, number = np.unique(groups, return_inverse=True)
  counts = np.zeros((number.max() + 1, max(labels.max(), 0) + 1), int)
  known = labels >= 0
  np.add.at(counts, (number[known], labels[known]), 1)
  main = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
  return main[number]
