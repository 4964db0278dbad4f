"""Embedded real and generated patches, for detectors of generated images.

Real patches are crops of photographs that come with scikit-image and
scikit-learn (the `demo` extra), made smaller first. Each generated one is the
real patch before it, made anew by a family of `families`: the two differ by the
traces alone. Test patches are of other photographs and of other families than
training patches. A patch is made when it is read, from the seed, the split and
its number.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any, ClassVar

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data.fields import Field, Group, Label, Pixels
from protojax.datasets import families, photos
from protojax.datasets.families import Family
from protojax.ranges import whole
from protojax.types import UserError

CLASS_NAMES = ("real", "generated")
SIDE = 64  # of a patch, in pixels
# Photographs are made so many times smaller: what cameras and JPEG left in them
# can pass for the trace of a generator.
_SMALLER = (2, 3)
_PHOTOGRAPHS = {
  "train": (
    *("astronaut", "brick", "chelsea", "coffee", "flower", "grass"),
    *("hubble_deep_field", "retina", "stereo_motorcycle"),
  ),
  "test": ("china", "gravel", "immunohistochemistry", "rocket"),
}
_FAMILIES = {"train": families.TRAINED, "test": families.HELD_OUT}
# Least standard deviation of a patch, in grey levels; flat ones show nothing.
_FLAT = 8.0
# Real patches that families are fitted to.
_FITTED = 40


@dataclasses.dataclass(frozen=True, eq=False)
class Patches:
  """A split of patches; see `source.Source`.

  Attributes:
    split: "train" or "test".
    count: of patches; real and generated ones take turns, a real one first.
    families: that make the generated ones, in turn.
    seed: of all randomness.
  """

  split: str
  count: int
  families: tuple[Family, ...]
  seed: int
  class_names = CLASS_NAMES
  skipped = ()
  fields: ClassVar[Mapping[str, Field]] = {
    "image": Pixels(),
    "label": Label(),
    "generator": Group(),
  }

  def __len__(self) -> int:
    return self.count

  @functools.cached_property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """0 real, 1 generated."""
    return np.arange(self.count, dtype=np.int32) % 2

  @functools.cached_property
  def groups(self) -> Int32[np.ndarray, " n"]:
    """The family of each patch; a real one is for comparison with a family."""
    turn = np.arange(self.count, dtype=np.int32) // 2
    return turn % len(self.families)

  @property
  def generator_names(self) -> tuple[str, ...]:
    """By group."""
    return tuple(family.name for family in self.families)

  def name(self, i: int) -> str:
    """Split, number, family, and whether it is real."""
    family = self.families[self.groups[i]].name
    kind = CLASS_NAMES[self.labels[i]]
    return f"{self.split}-{int(i):05d}-{family}-{kind}"

  def __getitem__(self, i: int) -> dict:
    number = list(_PHOTOGRAPHS).index(self.split)
    rng = np.random.default_rng([self.seed, number, int(i) // 2])
    image = crop(self.split, rng)
    if self.labels[i]:
      made = _fitted(self.families[self.groups[i]])(image.astype(float))
      image = np.rint(np.clip(made, 0, 255)).astype(np.uint8)
    return {"image": image, "label": int(self.labels[i]), "name": self.name(i)}


def load(data: Any, split: str, seed: int) -> Patches:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, with a number of patches: "train:2000";
      `families`, how many make training patches, 0 for all.
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, too many families, or a package is not
      installed.
  """
  if data.root:
    raise UserError(
      f"--config.data.root={data.root} does not hold the embedded patches:"
      " leave it out, or read your own with --config.data.name=generators"
    )
  name, _, count = data[split].partition(":")
  if name not in _PHOTOGRAPHS or not (count.isdecimal() and int(count)):
    raise UserError(
      f"--config.data.{split}={data[split]!r}: give train or test, and how many"
      " patches, as in train:2000"
    )
  known = _FAMILIES[name]
  whole(0, len(families.TRAINED)).require("data.families", data.families)
  if name == "train" and data.families:
    known = known[: data.families]
  for photograph in _PHOTOGRAPHS[name]:
    _photograph(photograph)  # A missing package is reported first.
  return Patches(name, int(count), known, seed)


def crop(split: str, rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
  """A real patch of a photograph of the split that is not flat."""
  names = _PHOTOGRAPHS[split]
  while True:
    image = _smaller(names[rng.integers(len(names))], int(rng.choice(_SMALLER)))
    y, x = (int(rng.integers(n - SIDE + 1)) for n in image.shape[:2])
    patch = image[y : y + SIDE, x : x + SIDE]
    if patch.std(axis=(0, 1)).mean() >= _FLAT:
      return patch


_photograph = functools.cache(photos.photograph)


@functools.cache
def _smaller(name: str, times: int) -> UInt8[np.ndarray, "h w 3"]:
  """A photograph whose pixels are means of times x times of its own."""
  image = _photograph(name)
  height, width = (n // times for n in image.shape[:2])
  cells = image[: height * times, : width * times].reshape(
    height, times, width, times, 3
  )
  return np.rint(cells.mean(axis=(1, 3))).astype(np.uint8)


@functools.cache
def _fitted(family: Family) -> families.Regenerate:
  """A family, fitted to real patches of the training photographs."""
  rng = np.random.default_rng(0)
  patches = np.stack([crop("train", rng) for _ in range(_FITTED)])
  return family.fit(patches.astype(float))
