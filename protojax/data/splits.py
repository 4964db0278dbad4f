"""Which images train, validate and test: draws that repeat."""

from collections.abc import Sequence
import hashlib
import os

import numpy as np

from protojax.data.source import Source, View, subset
from protojax.types import UserError

SPLITS = ("train", "validation", "test")


def held_out(names: Sequence[str], fraction: float, seed: int) -> list[int]:
  """Which of two or more names are drawn to be held out: some, never all.

  A name keeps its rank in the draw when others come or go.

  Args:
    names: of the images of one class.
    fraction: the share to hold out, between 0 and 1.
    seed: of the draw.

  Returns:
    Their positions, in order.
  """
  ranked = sorted(range(len(names)), key=lambda i: draw(seed, names[i]))
  count = min(max(round(len(names) * fraction), 1), len(names) - 1)
  return sorted(ranked[:count])


def draw(seed: int, name: str) -> bytes:
  """One draw a file, from its name, to rank files by.

  Neither the order of the listing nor the other files change it.
  """
  key = int(seed).to_bytes(16, "little", signed=True)
  return hashlib.blake2b(os.fsencode(name), key=key).digest()


def divided(source: Source, fraction: float, seed: int) -> tuple[View, View]:
  """The images to train on, and those of each class held out to choose by.

  Of a class with one image none is held out.

  Args:
    source: the training images.
    fraction: the share of each class that is held out.
    seed: of the draw.

  Raises:
    UserError: the share is no share, or nothing could be held out.
  """
  if not 0 < fraction < 1:
    raise UserError(
      f"--config.data.validation_fraction={fraction} leaves a part empty; give"
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
