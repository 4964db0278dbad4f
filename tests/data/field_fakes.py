"""Sources of every kind of field, in memory."""

import numpy as np

from protojax.data import fields

COUNT = 12
KINDS = {
  "image": fields.Pixels(),
  "depth": fields.Grid(2),
  "surface": fields.Classes(ignore=9),
  "things": fields.Instances(3),
  "boxes": fields.Boxes(3),
  "label": fields.Label(),
  "kind": fields.Label(),
  "attributes": fields.Labels(4),
  "slide": fields.Group(),
  "words": fields.Tokens(5),
  "record": fields.Vector(2),
}


class Everything:
  """A disc at a place of its own in each example; all fields tell of it."""

  class_names = ("a", "b")
  skipped = ()
  fields = KINDS

  def __init__(self, count=COUNT, side=24):
    self.labels = (np.arange(count) % 2).astype(np.int32)
    self.groups = np.arange(count) // 3
    self.side = side
    self.read = []

  def __len__(self):
    return len(self.labels)

  def name(self, i):
    return f"example {i}"

  def disc(self, i):
    y, x = np.mgrid[: self.side, : self.side] + 0.5
    return (y - 8 - i / 4) ** 2 + (x - 15) ** 2 < 36

  def __getitem__(self, i):
    self.read.append(int(i))
    disc = self.disc(i)
    y, x = np.nonzero(disc)
    box = np.array([[y.min(), x.min(), y.max() + 1, x.max() + 1]]) / self.side
    return {
      "name": self.name(i),
      "image": np.repeat(np.uint8(255 * disc)[..., None], 3, axis=-1),
      "depth": np.stack([disc, -disc.astype(float)], -1).astype(np.float64),
      "surface": disc.astype(np.uint8),
      "things": {"masks": disc[None], "classes": [1]},
      "boxes": {"boxes": box, "classes": [1]},
      "label": int(self.labels[i]),
      "kind": i % 3,
      "attributes": np.array([1, 0, -1, i % 2]),
      "words": np.arange(1, 2 + i % 5),
      "record": np.array([i, 0.5]),
    }


class Bags:
  """Bags of `1 + 3 i` vectors, and no image."""

  class_names = ("a", "b")
  skipped = ()

  def __init__(self, count=8):
    self.fields = {"cells": fields.Bag(2), "label": fields.Label()}
    self.labels = (np.arange(count) % 2).astype(np.int32)
    self.counts = 1 + 3 * np.arange(count)
    self.read = []

  def __len__(self):
    return len(self.labels)

  def name(self, i):
    return f"bag {i}"

  def sizes(self, name):
    assert name == "cells"
    return self.counts

  def __getitem__(self, i):
    self.read.append(int(i))
    cells = np.full((1 + 3 * i, 2), i, np.float32)
    return {"cells": cells, "label": int(self.labels[i]), "name": self.name(i)}


class Unlabelled:
  """Vectors alone: no image, no label, no class."""

  class_names = ()
  skipped = ()

  def __init__(self, count=9):
    self.fields = {"record": fields.Vector(3)}
    self.labels = np.full(count, -1, np.int32)

  def __len__(self):
    return len(self.labels)

  def name(self, i):
    return f"{i}"

  def __getitem__(self, i):
    return {"record": np.full(3, i, np.float32)}
