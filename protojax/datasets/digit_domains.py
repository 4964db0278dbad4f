"""Embedded scenes of digits as two scanners would show them.

Three to six scanned digits on textures, as in `digit_scenes`, with the class of
each pixel: background, or one of ten digits. `data.domain` is "source", grey
scenes as they are, or "target": inverted and blurred, of other scans and of
other places of the textures. A scene is made when it is read, from the seed,
the domain, the split and its number. Needs scikit-image and scikit-learn (the
`demo` extra).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.data.fields import Classes, Field, Pixels
from protojax.datasets import digit_scenes, digits, study_files
from protojax.datasets.digit_scenes import Scenes

DOMAINS = ("source", "target")
CLASS_NAMES = ("background", *digit_scenes.CLASS_NAMES[:10])
_DIGITS = 10
# Of the target's training scenes: a draw of their own.
_APART = 7919
_BLUR = (0.25, 0.5, 0.25)

# What is declared of a data set; see `protojax.datasets`.
FIELDS: Mapping[str, Field] = {"image": Pixels(), "mask": Classes()}


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
  """A split of the scenes of one domain; see `source.Source`.

  Attributes:
    scenes: that are shown.
    domain: one of `DOMAINS`.
  """

  scenes: Scenes
  domain: str
  class_names: ClassVar[tuple[str, ...]] = CLASS_NAMES
  skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
  fields: ClassVar[Mapping[str, Field]] = FIELDS

  def __len__(self) -> int:
    return len(self.scenes)

  def __getitem__(self, i: int) -> dict:
    scene = self.scenes[i]
    grey = scene["image"].astype(np.float32).mean(axis=-1)
    if self.domain == "target":
      grey = shifted(grey)
    image = np.repeat(np.rint(grey)[..., None], 3, axis=-1)
    mask = scene["mask"]
    return {
      "image": image.astype(np.uint8),
      "mask": np.where(mask < _DIGITS, mask + 1, 0).astype(np.int32),
      "name": self.name(i),
    }

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: a scene is of no single class."""
    return np.full(len(self), -1, np.int32)

  def name(self, i: int) -> str:
    """Domain, split and number."""
    return f"{self.domain}-{self.scenes.name(i)}"


def load(data: Any, split: str, seed: int) -> Domain:
  """Opens the training or test split of a domain.

  Args:
    data: `domain`; `train` and `test`, with a number of scenes: "train:600".
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: there is no such domain or split, or a package is not installed.
  """
  domain = study_files.one_of(DOMAINS, data.domain)
  drawn = (seed + _APART * DOMAINS.index(domain)) % 2**32
  return Domain(digit_scenes.load(data, split, drawn), domain)


def shifted(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
  """Inverted, and blurred along both axes."""
  padded = np.pad(255 - grey, 1, mode="edge")
  rows = np.convolve(padded.ravel(), _BLUR, "same").reshape(padded.shape)
  turned = rows.T
  both = np.convolve(turned.ravel(), _BLUR, "same").reshape(turned.shape)
  # What ran over from line to line is at the edges.
  return both.T[1:-1, 1:-1]


def similarities(data: Any, seed: int) -> Float[np.ndarray, "k k"]:
  """How alike the strokes of two digits are, from source training scans alone.

  The cosine of the mean scans of two classes, which have no common mean; the
  background is like none.

  Args:
    data: of the config.
    seed: without effect on the scans of a split.
  """
  scans = digits.load(data, "train", seed)
  pixels: UInt8[np.ndarray, "n 8 8"] = scans.images[..., 0]
  means = np.stack(
    [pixels[scans.labels == k].mean(axis=0).ravel() for k in range(_DIGITS)]
  )
  means = means - means.mean(axis=0)
  unit = means / np.linalg.norm(means, axis=1, keepdims=True)
  found = np.eye(_DIGITS + 1)
  found[1:, 1:] = unit @ unit.T
  return found
