"""Embedded scenes of a road, with boxes, cuboids and captions: `driving_world`.

A split has each of its scenes in each of some conditions, one after the other.
A scene is made when it is read, from the seed, the split and its number. Needs
scikit-image and scikit-learn (the `demo` extra). `prepare` writes scenes as a
folder of KITTI's layout:

  training/image_2, label_2, calib   clear scenes
  ImageSets/train.txt, val.txt       names of those to train and to test on
  conditions/snow/image_2, label_2   the training scenes in snow; others alike
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float, Int
import numpy as np

from protojax import ranges, writing
from protojax.data import images as images_lib
from protojax.data.cuboids import Cuboids
from protojax.data.fields import Field
from protojax.datasets import driving, driving_world, kitti, photographs
from protojax.datasets.captions import Captions
from protojax.datasets.driving_world import CAMERA, CONDITIONS, Scene
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FIELDS = driving.FIELDS
PREPARES = "embedded road scenes in KITTI's layout; --source=TRAIN:TEST scenes"
WRITES = "kitti"
TRAINS = "centre_detector_folder"

_SPLITS = ("train", "test")
_COUNT = ranges.whole(1, 1_000_000)


class Written(NamedTuple):
  """What `prepare` has done.

  Attributes:
    counts: images of each split.
    skipped, overlap: nothing.
  """

  counts: Mapping[str, int]
  skipped: tuple[tuple[str, str], ...] = ()
  overlap: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
  """A split of scenes; see `source.Source` and `driving.Driving`.

  Attributes:
    split: "train" or "test".
    count: of scenes.
    seed: of all randomness.
    conditions: that each scene is shown in.
    added: (path, scene, condition) of images that come after them.
  """

  split: str
  count: int
  seed: int
  conditions: tuple[str, ...]
  added: tuple[tuple[str, int, str], ...] = ()
  class_names: ClassVar[tuple[str, ...]] = driving_world.KINDS
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return self._own + len(self.added)

  @property
  def _own(self) -> int:
    return self.count * len(self.conditions)

  def __getitem__(self, i: int) -> dict:
    scene = self.scene(i)
    if i < self._own:
      image = driving_world.picture(scene, self.split, self.condition(i))
    else:
      image = images_lib.decode(self.added[int(i) - self._own][0])
    found = driving.example(image, scene.objects, CAMERA, self.class_names)
    return {**found, "name": self.name(i)}

  def scene(self, i: int) -> Scene:
    """What an example shows."""
    own = self.seed, _SPLITS.index(self.split), self._number(i)
    return driving_world.draw(np.random.default_rng(own), own)

  def objects(self, i: int) -> Cuboids:
    """The objects of an example."""
    return self.scene(i).objects

  def camera(self, i: int) -> Float[np.ndarray, "3 4"]:
    """The camera, one for all."""
    return CAMERA

  def shape(self, i: int) -> tuple[int, int]:
    """Height and width of the image."""
    del i
    return driving_world.HEIGHT, driving_world.WIDTH

  def condition(self, i: int) -> str:
    """The condition of an example."""
    if i >= self._own:
      return self.added[int(i) - self._own][2]
    return self.conditions[int(i) % len(self.conditions)]

  def _number(self, i: int) -> int:
    """The scene of an example."""
    if i >= self._own:
      return self.added[int(i) - self._own][1]
    return int(i) // len(self.conditions)

  @property
  def words(self) -> tuple[str, ...]:
    """All that captions are made of; a condition only if scenes are in it."""
    return driving_world.words(self.conditions)

  @property
  def captions(self) -> Sequence[str]:
    """What each example shows."""

    def caption(i: int) -> str:
      return driving_world.caption(self.objects(i).kinds, self.condition(i))

    return Captions(len(self), caption)

  @functools.cached_property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a scene is of no single class."""
    return np.full(len(self), -1, np.int32)

  def name(self, i: int) -> str:
    """Split, number and condition."""
    made = "-added" if i >= self._own else ""
    return f"{self.split}-{self._number(i):05d}-{self.condition(i)}{made}"


def load(data: Any, split: str, seed: int) -> Scenes:
  """Opens the training or test split that a config names.

  Args:
    data: `scenes`, how many to train and to test on; `conditions` and
      `test_conditions`, those that each scene is shown in; `added`, folders of
      images of the training scenes, as `generate` makes them of what `prepare`
      wrote: by the numbers of scenes; see `kitti.added`.
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there are no so many scenes or no such condition, or a package is
      not installed.
  """
  _COUNT.require("data.scenes", tuple(data.scenes))
  if len(data.scenes) != len(_SPLITS):
    raise UserError(
      f"--config.data.scenes={tuple(data.scenes)}: give how many scenes to"
      " train and to test on, such as (600, 200)"
    )
  count = data.scenes[_SPLITS.index(split)]
  key = "conditions" if split == "train" else "test_conditions"
  conditions = tuple(data[key])
  unknown = [name for name in conditions if name not in CONDITIONS]
  if unknown or not conditions:
    raise UserError(
      f"--config.data.{key}={conditions}: choose from {', '.join(CONDITIONS)}"
    )
  photographs.photograph("brick")  # A missing package is reported first.
  if split == "test":
    return Scenes(split, count, seed, conditions)
  numbers = {f"{i:06d}": i for i in range(count)}
  places = kitti.added(data.added, data.root, "", set(numbers))
  more = tuple(
    (path, numbers[os.path.splitext(os.path.basename(path))[0]], condition)
    for path, _, _, condition in places
  )
  return Scenes(split, count, seed, conditions, more)


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], None],
  advance: Callable[[], None],
) -> Written:
  """Writes scenes as a folder of KITTI's layout.

  Args:
    source: numbers of training and test scenes, such as "600:100".
    output: folder to write to; files of these names are written anew.
    begin: takes the number of images.
    advance: called after each.

  Raises:
    UserError: no such numbers, or the folder cannot be written.
  """
  train, _, test = source.partition(":")
  counts = {"train": train, "test": test}
  if not all(n.isdecimal() and 0 < int(n) < 10**5 for n in counts.values()):
    raise UserError(
      f"--source={source}: the scenes come with protojax; give how many to"
      " train and to test on, such as --source=600:100"
    )
  photographs.photograph("brick")
  whole = {
    split: Scenes(split, int(count), 0, CONDITIONS)
    for split, count in counts.items()
  }
  begin(len(whole["train"]) + int(test))
  root, start = Path(output), 0
  for split, scenes in whole.items():
    of_set = {"train": "train", "test": "val"}[split]
    stems = [f"{start + i:06d}" for i in range(scenes.count)]
    start += scenes.count
    with writing.replacing(root / "ImageSets" / f"{of_set}.txt") as file:
      file.write("".join(f"{stem}\n" for stem in stems))
    for i in range(len(scenes)):
      condition = scenes.condition(i)
      clear = condition == CONDITIONS[0]
      if split == "test" and not clear:
        continue
      folder = root / "training" if clear else root / "conditions" / condition
      camera = CAMERA if clear else None
      stem = stems[i // len(CONDITIONS)]
      image = scenes[i]["image"]
      kitti.write(str(folder), stem, image, scenes.objects(i), camera)
      advance()
  return Written({split: int(count) for split, count in counts.items()})
