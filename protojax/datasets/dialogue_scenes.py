"""Embedded scenes that agents ask about, as pictures with all that they hold.

One to four things, each of a colour, size and texture, before a background and
in a style: `dialogue_world`. Scenes are drawn from the seed and the split; a
picture is painted when it is read. Needs scikit-image and scikit-learn (the
`demo` extra).
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, ClassVar

import jax
from jaxtyping import Int
import numpy as np

from protojax.data.fields import Field, Pixels
from protojax.datasets import dialogue_pictures, dialogue_world, scene_pieces
from protojax.datasets.dialogue_world import TYPES, Scenes
from protojax.types import UserError

_SPLITS = ("train", "test")
# Seeds are below this, so that no two splits have one seed.
_SEEDS = 2**32

# What is declared of a data set; see `protojax.datasets`.
FIELDS: Mapping[str, Field] = {"image": Pixels()}


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
  """A split of scenes; see `source.Source`.

  Attributes:
    split: "train" or "test".
    count: of scenes.
    seed: of all randomness.
  """

  split: str
  count: int
  seed: int
  class_names: ClassVar[tuple[str, ...]] = ()
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, i: int) -> dict:
    one = jax.tree.map(lambda x: x[int(i)][None], self.scenes)
    (image,) = dialogue_pictures.paint(one)
    return {"image": image, "name": self.name(i)}

  @functools.cached_property
  def scenes(self) -> Scenes:
    """What they hold."""
    own = _SPLITS.index(self.split) * _SEEDS + self.seed
    return dialogue_world.draw(self.count, own)

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a scene is of no single class."""
    return np.full(self.count, -1, np.int32)

  def name(self, i: int) -> str:
    """Split and number."""
    return f"{self.split}-{int(i):05d}"


def load(data: Any, split: str, seed: int) -> Pictures:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, a split with a number of scenes: "train:20000" or
      "test:1000".
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, or a package is not installed.
  """
  name, _, count = data[split].partition(":")
  if name not in _SPLITS or not (count.isdecimal() and 0 < int(count) < 10**6):
    raise UserError(
      f"--config.data.{split}={data[split]!r}: give train or test, and how many"
      " scenes, as in train:2000"
    )
  scene_pieces.pieces(TYPES)  # A missing package is reported first.
  return Pictures(name, int(count), seed)
