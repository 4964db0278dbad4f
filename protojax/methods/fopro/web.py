"""What FoPro knows of its training images beside their labels.

A source may say which of them are few-shot images, `trusted`, and what is true
of each, `truth`: a class, -1 for none of the classes, -2 where nobody knows. A
list that a person has corrected stands over both labels and trust.
"""

import dataclasses
from typing import Any

from jaxtyping import Bool, Float, Int32
import numpy as np

from protojax.data import splits
from protojax.data.source import Source, origin, subset
from protojax.datasets import dataset
from protojax.types import UserError

UNKNOWN = -2


def open_split(data: Any, split: str, seed: int) -> Source:
  """Opens a split; of training images, some of the web validate.

  Raises:
    UserError: see `dataset.open_split`.
  """
  if split == "test" or not data.validation_fraction:
    return dataset.open_split(data, split, seed)
  held = data.validation_fraction
  with data.unlocked():
    data.validation_fraction = 0.0
    try:
      source = dataset.open_split(data, "train", seed)
    finally:
      data.validation_fraction = held
  web = np.flatnonzero(~trusted(source))
  drawn = seed if data.split_seed < 0 else data.split_seed
  _, validation = splits.divided(subset(source, web), held, drawn)
  chosen = web[validation.rows]
  if split == "train":
    chosen = np.setdiff1d(np.arange(len(source)), chosen)
  return subset(source, chosen)


def trusted(source: Source) -> Bool[np.ndarray, " n"]:
  """Which images are few-shot images."""
  return _column(source, "trusted", False).astype(bool)


def truth(source: Source) -> Int32[np.ndarray, " n"]:
  """What each image shows; see `UNKNOWN`."""
  return _column(source, "truth", UNKNOWN).astype(np.int32)


def _column(source: Source, name: str, otherwise: Any) -> np.ndarray:
  whole, rows = origin(source)
  found = getattr(whole, name, None)
  if found is None:
    return np.full(len(source), otherwise)
  return np.asarray(found)[rows]


@dataclasses.dataclass(frozen=True)
class Listed:
  """The training images as they are learned from.

  Attributes:
    labels: class of each, corrected.
    trusted: few-shot images, and those that a person has checked.
    rows: positions of those that are used.
  """

  labels: Int32[np.ndarray, " n"]
  trusted: Bool[np.ndarray, " n"]
  rows: Int32[np.ndarray, " m"]

  def weights(self, rebalanced: bool) -> Float[np.ndarray, " n"] | None:
    """How often each is drawn: less from large classes; None: all alike."""
    if not rebalanced:
      return None
    return rebalancing(self.labels, self.rows)


def rebalancing(
  labels: Int32[np.ndarray, " n"], rows: Int32[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
  """Weights 1 / sqrt(images of the class); 0 outside of `rows`."""
  counts = np.bincount(labels[rows], minlength=labels.max() + 1)
  found = np.zeros(len(labels))
  found[rows] = counts[labels[rows]] ** -0.5
  return found


def require_shots(
  source: Source, found: Bool[np.ndarray, " n"], count: int
) -> None:
  """Refuses a class with fewer few-shot images than were asked for.

  Raises:
    UserError: names the classes.
  """
  labels = np.asarray(source.labels)[found]
  each = np.bincount(labels, minlength=len(source.class_names))
  few = [
    f"{source.class_names[k]} ({each[k]})" for k in (each < count).nonzero()[0]
  ]
  if few:
    more = f" and {len(few) - 4} more" if len(few) > 4 else ""
    raise UserError(
      f"--config.data.shots={count}: fewer few-shot images in"
      f" {', '.join(few[:4])}{more}; ask for fewer, or add images"
    )


def class_weights(source: Source) -> Float[np.ndarray, " k"] | None:
  """Weights of the classes in a source's lists; None if it has none."""
  return getattr(origin(source)[0], "class_weights", None)
