"""A data set without images: vectors around one point for each class."""

from typing import ClassVar

import numpy as np

from protojax.data.fields import Label, Vector

NAMES = ("left", "middle", "right")
WIDTH = 5


class Vectors:
  """Vectors with labels."""

  fields: ClassVar = {"vector": Vector(WIDTH), "label": Label()}
  class_names = NAMES
  skipped = ()

  def __init__(self, count, seed):
    rng = np.random.default_rng(seed)
    self.labels = (np.arange(count) % len(NAMES)).astype(np.int32)
    points = np.float32(3 * np.eye(len(NAMES), WIDTH))
    noise = rng.normal(size=(count, WIDTH)).astype(np.float32)
    self.vectors = points[self.labels] + noise

  def __len__(self):
    return len(self.labels)

  def name(self, i):
    """Name of a vector."""
    return f"vector {i}"

  def __getitem__(self, i):
    label = int(self.labels[i])
    return {"vector": self.vectors[i], "label": label, "name": self.name(i)}


def load(data, split, seed):
  """The vectors of a split."""
  del data
  return Vectors(30 if split == "train" else 12, 2 * seed + (split == "test"))
