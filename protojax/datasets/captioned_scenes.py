"""Embedded scenes of things with attributes, with a caption each.

One to four things on grey texture, each of a colour and a texture, in weather:
`scene_world`. Beside image and caption a scene has the mask of each thing.
Some combinations of colour and type can be held out of training, to draw what
was never seen. Needs scikit-image and scikit-learn (the `demo` extra). A scene
is made when it is read, from the seed, the split and its number.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

from jaxtyping import Int
import numpy as np

from protojax.data.fields import Field, Instances, Pixels
from protojax.datasets import photographs, scene_world
from protojax.datasets.captions import Captions
from protojax.datasets.scene_world import Scene
from protojax.types import UserError

_SPLITS = ("train", "test", "unseen")
# Of each so many combinations of colour and type, one is held out.
_ONE_OF = 5

# What is declared of a data set; see `protojax.datasets`.
FIELDS: Mapping[str, Field] = {
  "image": Pixels(),
  "things": Instances(scene_world.MOST),
}


def held_out(scene: Scene) -> bool:
  """Whether a thing of a scene has a combination that training lacks."""
  return bool(np.any((scene.colours + 2 * scene.types) % _ONE_OF == 0))


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
  """A split of scenes with captions; see `source.Source`.

  Attributes:
    split: "train"; "test", of all combinations; or "unseen", where each scene
      has one that is held out.
    count: of scenes.
    seed: of all randomness.
    things: the least and the most of a scene.
    conditions: that scenes are in.
    holds_out: whether "train" has no combination that is held out.
  """

  split: str
  count: int
  seed: int
  things: tuple[int, int]
  conditions: tuple[int, ...]
  holds_out: bool
  class_names: ClassVar[tuple[str, ...]] = scene_world.TYPES
  words: ClassVar[tuple[str, ...]] = scene_world.WORDS
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return self.count

  def __getitem__(self, i: int) -> dict:
    scene = self.scene(i)
    image, masks = scene_world.picture(scene, self.split)
    classes = scene.types.astype(np.int32)
    things = {"masks": masks, "classes": classes}
    return {"image": image, "things": things, "name": self.name(i)}

  def scene(self, i: int) -> Scene:
    """What a scene holds; drawn again until it is one of the split's."""
    own = self.seed, _SPLITS.index(self.split), int(i)
    generator = np.random.default_rng(own)
    while True:
      scene = scene_world.draw(generator, *self.things, self.conditions, own)
      if self.split == "test" or (self.split == "train" and not self.holds_out):
        return scene
      if held_out(scene) == (self.split == "unseen"):
        return scene

  @property
  def captions(self) -> Sequence[str]:
    """What each scene shows."""
    return Captions(self.count, lambda i: scene_world.caption(self.scene(i)))

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a scene is of no single class."""
    return np.full(self.count, -1, np.int32)

  def name(self, i: int) -> str:
    """Split and number."""
    return f"{self.split}-{int(i):05d}"


def load(data: Any, split: str, seed: int) -> Scenes:
  """Opens the training or test split that a config names.

  Args:
    data: `train` and `test`, with a number of scenes: "train:2000", "test:200"
      or "unseen:200"; `things`, the least and the most of a scene; `weather`,
      whether scenes have other conditions than clear; `held_out`, whether
      training lacks some combinations.
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such split, or a package is not installed.
  """
  name, _, count = data[split].partition(":")
  if name not in _SPLITS or not (count.isdecimal() and 0 < int(count) < 10**6):
    raise UserError(
      f"--config.data.{split}={data[split]!r}: give train, test or unseen, and"
      " how many scenes, as in train:2000"
    )
  least, most = data.things
  if not 1 <= least <= most <= scene_world.MOST:
    raise UserError(
      f"--config.data.things={tuple(data.things)}: give the least and the most"
      f" things of a scene, 1 to {scene_world.MOST}"
    )
  photographs.photograph("brick")  # A missing package is reported first.
  known = len(scene_world.CONDITIONS) if data.weather else 1
  return Scenes(
    name,
    int(count),
    seed,
    (least, most),
    tuple(range(known)),
    bool(data.held_out),
  )
