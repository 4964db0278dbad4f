"""Embedded images with a class for each pixel, of one known cause.

A mosaic has regions as those of `texture_mosaics`. Each shows a patch of a
photograph in which one characteristic is set to a level, as in `planted`: the
level is the class of its pixels. So what is said of a region can be checked.
Of contrast and saturation there is every second level, since a part of a patch
differs from the whole of it by more than one.
A mosaic is made when it is read, from the seed, the split and its number.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

from jaxtyping import Int
import numpy as np

from protojax.data.fields import Classes, Field, Pixels
from protojax.datasets import planted, texture_mosaics

# What is declared of a data set; see `protojax.datasets`.
FIELDS: Mapping[str, Field] = {"image": Pixels(), "mask": Classes()}

# Of the levels of `planted`, how many steps from one to the next.
_STEPS: Mapping[str, int] = {"contrast": 2, "saturation": 2}


@dataclasses.dataclass(frozen=True, eq=False)
class PlantedMosaics:
  """A split of mosaics; see `source.Source`.

  Attributes:
    characteristic: what is planted, one of `planted.LEVELS`.
    split: "train" or "test".
    count: of mosaics.
    seed: of all randomness.
  """

  characteristic: str
  split: str
  count: int
  seed: int
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, i: int) -> dict:
    generator = np.random.default_rng(
      [self.seed, texture_mosaics.SPLITS.index(self.split), int(i)]
    )
    low, high = texture_mosaics.REGIONS
    levels, step = len(self.class_names), _STEPS.get(self.characteristic, 1)
    count = min(int(generator.integers(low, high + 1)), levels)
    classes = generator.choice(levels, count, replace=False)
    region = texture_mosaics.regions(count, generator)
    patches = np.stack(
      [
        planted.planted(self.characteristic, self.split, int(k), generator)
        for k in step * classes
      ]
    )
    image = np.take_along_axis(patches, region[None, :, :, None], axis=0)[0]
    return {
      "image": image,
      "mask": classes[region].astype(np.int32),
      "name": self.name(i),
    }

  @property
  def class_names(self) -> tuple[str, ...]:
    """The characteristic with each of its levels, such as "hue 60"."""
    step = _STEPS.get(self.characteristic, 1)
    levels = planted.LEVELS[self.characteristic][::step]
    return tuple(f"{self.characteristic} {level}" for level in levels)

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a mosaic is of no single class."""
    return np.full(self.count, -1, np.int32)

  def name(self, i: int) -> str:
    """Characteristic, split and number."""
    return f"{self.characteristic}-{self.split}-{int(i):04d}"


def load(data: Any, split: str, seed: int) -> PlantedMosaics:
  """Opens the training or test split that a config names.

  Args:
    data: `characteristic`; `train` and `test`, with a number of mosaics.
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such characteristic or split, or the photographs are
      not installed.
  """
  name, count = texture_mosaics.counted(data, split)
  planted.opened(data.characteristic, name, seed)
  return PlantedMosaics(data.characteristic, name, count, seed)
