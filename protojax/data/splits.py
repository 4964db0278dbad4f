"""Draws the splits of a data set: the same seed draws the same images."""

from collections.abc import Sequence
import hashlib
import os

import numpy as np

from protojax.data.source import Source, Subset, subset
from protojax.types import UserError

SPLITS = ("train", "validation", "test")


def held_out(names: Sequence[str], fraction: float, seed: int) -> list[int]:
  """Draws names to hold out: at least one, never all.

  A name keeps its rank in the draw when other names come or go.

  Args:
    names: of the images of one class, two or more.
    fraction: the share to hold out, between 0 and 1.
    seed: of the draw.

  Returns:
    Positions of the drawn names in `names`, in order.
  """
  ranked = sorted(range(len(names)), key=lambda i: draw(seed, names[i]))
  count = min(max(round(len(names) * fraction), 1), len(names) - 1)
  return sorted(ranked[:count])


def draw(seed: int, name: str) -> bytes:
  """A random rank of one file; it depends on the seed and the name alone."""
  key = int(seed).to_bytes(16, "little", signed=True)
  return hashlib.blake2b(os.fsencode(name), key=key).digest()


def divided(
  source: Source, fraction: float, seed: int
) -> tuple[Subset, Subset]:
  """Divides training images into a training and a validation subset.

  A share of each class is held out; of a class with one image, none is.

  Args:
    source: the training images.
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
  held: list[int] = []
  for label in range(len(source.class_names)):
    members = np.flatnonzero(source.labels == label)
    if len(members) > 1:
      names = [str(member) for member in members]
      held += members[held_out(names, fraction, seed)].tolist()
  if not held:
    raise UserError(
      "no class has two training images, of which one could be held out to"
      " validate on: set --config.data.validation_fraction=0"
    )
  rest = np.setdiff1d(np.arange(len(source)), held)
  return subset(source, rest), subset(source, sorted(held))
