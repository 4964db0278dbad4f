"""The embedded data set of defects: real textures with artificial defects.

The images are crops of the photographs of brick, grass and gravel in
scikit-image (the `demo` extra). Test crops lie in the right 40 % of a
photograph; of the left 60 %, training crops lie in the upper three quarters and
calibration crops below: no pixel is in two splits. Half of the test crops get a
defect made of real pixels, so that the defective pixels are known exactly. All
is drawn from fixed seeds and kept in memory when the data set is opened.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

from jaxtyping import Bool, Int, UInt8
import numpy as np
from PIL import Image, ImageFilter

from protojax.datasets import photos
from protojax.datasets.collection import NORMAL, Entry

CATEGORIES = ("brick", "grass", "gravel")
COUNTS = {"train": 60, "calibration": 15, "test": 40}  # crops of each texture
SIDE = 128  # of a crop, in pixels
_LEFT = 0.6  # share of the width that is not for testing
_UPPER = 0.75  # share of its height that is for training
# Share of a crop that a defect covers, at least and at most.
_AREA = (0.015, 0.07)
_SEEN = 10.0  # least mean change of the defective pixels, in grey levels
_BLUR = 4.0  # pixels, sigma

_Crop = UInt8[np.ndarray, "s s 3"]
_Truth = Bool[np.ndarray, "s s"]


@dataclasses.dataclass(frozen=True, eq=False)
class Textures:
  """A collection of crops in memory.

  Attributes:
    entries: one a crop.
    images: pixels of each crop.
    truths: mask of the defective pixels of each crop.
  """

  entries: tuple[Entry, ...]
  images: tuple[_Crop, ...]
  truths: tuple[_Truth, ...]
  title: str = "textures"
  has_truth: bool = True

  def broken(self, rows: Sequence[int]) -> dict[int, str]:
    """Empty: all crops are in memory."""
    del rows
    return {}

  def require_truth(self, rows: Sequence[int]) -> None:
    """Nothing to check: every defect is made with its mask."""

  def image(self, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of a crop."""
    return self.images[row]

  def truth(self, row: int) -> Bool[np.ndarray, "H W"]:
    """Mask of the pixels that a defect was pasted over."""
    return self.truths[row]


def collect(data: Any) -> Textures:
  """The crops; no key of the config changes them."""
  del data
  return _kept()


@functools.cache
def _kept() -> Textures:
  """The crops, which the splits of a run share."""
  return made()


def made() -> Textures:
  """Cuts all crops and pastes the defects.

  Raises:
    UserError: scikit-image is not installed.
  """
  photographs = {name: photos.photograph(name) for name in CATEGORIES}
  crops = {
    (name, split): _crops(name, image, split)
    for name, image in photographs.items()
    for split in COUNTS
  }
  entries, images, truths = [], [], []
  for (category, split), clean in crops.items():
    others = [crops[c, split] for c in CATEGORIES if c != category]
    for i, crop in enumerate(clean):
      kind, image = NORMAL, crop
      truth = np.zeros((SIDE, SIDE), bool)
      if split == "test" and i >= len(clean) // 2:
        kind = tuple(_DEFECTS)[i % len(_DEFECTS)]
        foreign = others[i // len(_DEFECTS) % len(others)][i]
        generator = np.random.default_rng([CATEGORIES.index(category), i])
        image, truth = _pasted(kind, crop, foreign, generator)
      name = f"{category}/{split}/{kind}-{i:02d}"
      entries.append(Entry(name, category, kind, split))
      images.append(image)
      truths.append(truth)
  return Textures(tuple(entries), tuple(images), tuple(truths))


def corners(
  category: str, image: UInt8[np.ndarray, "H W 3"], split: str
) -> Int[np.ndarray, "n 2"]:
  """Left upper corners (x, y) of the crops of a texture, in pixels."""
  height, width, _ = image.shape
  border, floor = int(width * _LEFT), int(height * _UPPER)
  left, right, top, bottom = {
    "train": (0, border, 0, floor),
    "calibration": (0, border, floor, height),
    "test": (border, width, 0, height),
  }[split]
  columns, rows = right - left - SIDE + 1, bottom - top - SIDE + 1
  seed = [CATEGORIES.index(category), tuple(COUNTS).index(split)]
  places = np.random.default_rng(seed).choice(
    columns * rows, COUNTS[split], replace=False
  )
  return np.stack([left + places % columns, top + places // columns], axis=1)


def blob(generator: np.random.Generator, side: int) -> Bool[np.ndarray, "s s"]:
  """Mask of a spot with a smooth outline, at a random place in a square.

  Its radius varies in waves around its centre. It covers 1 to 8 % of the
  square.
  """
  waves = np.arange(2, 6)
  height = generator.uniform(0, 0.5 / waves)
  phase = generator.uniform(0, 2 * np.pi, len(waves))
  share = np.exp(generator.uniform(*np.log(_AREA)))
  # The area inside r (1 + sum of waves) is pi r² (1 + sum of height² / 2).
  radius = side * np.sqrt(share / np.pi / (1 + (height**2).sum() / 2))
  reach = radius * (1 + height.sum())
  y, x = generator.uniform(reach, side - 1 - reach, 2)
  dy, dx = np.mgrid[:side, :side] - np.array([y, x])[:, None, None]
  angles = np.arctan2(dy, dx)[..., None] * waves + phase
  return np.hypot(dy, dx) < radius * (1 + (height * np.cos(angles)).sum(-1))


def _crops(
  category: str, image: UInt8[np.ndarray, "H W 3"], split: str
) -> list[_Crop]:
  places = corners(category, image, split)
  return [image[y : y + SIDE, x : x + SIDE].copy() for x, y in places]


def _pasted(
  kind: str, crop: _Crop, foreign: _Crop, generator: np.random.Generator
) -> tuple[_Crop, _Truth]:
  """A crop with a visible defect, and the mask of the defect."""
  while True:
    truth = blob(generator, SIDE)
    defect = _DEFECTS[kind](crop, truth, foreign, generator)
    # Drawn again if nothing is seen: blurred flat brick is flat brick.
    if np.abs(defect[truth] - crop[truth].astype(float)).mean() >= _SEEN:
      return np.where(truth[..., None], defect, crop), truth


def _foreign(crop, truth, foreign, generator) -> _Crop:
  """Pixels of another texture at this place."""
  del crop, truth, generator
  return foreign


def _blurred(crop, truth, foreign, generator) -> _Crop:
  """The texture out of focus."""
  del truth, foreign, generator
  return np.asarray(
    Image.fromarray(crop).filter(ImageFilter.GaussianBlur(_BLUR))
  )


def _stained(crop, truth, foreign, generator) -> _Crop:
  """Lighter or darker with less contrast, strongest in the middle."""
  del foreign
  places = np.argwhere(truth)
  far = np.linalg.norm(np.indices(truth.shape).T - places.mean(0), axis=-1).T
  strength = 1 - 0.6 * np.minimum(far / far[truth].max(), 1)
  sign, amount = generator.choice((-1, 1)), generator.uniform(30, 50)
  contrast = 1 - generator.uniform(0.1, 0.4) * strength[..., None]
  mean = crop[truth].mean()
  grey = mean + (crop - mean) * contrast + sign * amount * strength[..., None]
  return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _turned(crop, truth, foreign, generator) -> _Crop:
  """The same piece of the texture, turned by a right angle."""
  del foreign
  places = np.argwhere(truth)
  side = np.ptp(places, axis=0).max() + 1
  y, x = np.minimum(places.min(0), len(crop) - side)
  window = np.s_[y : y + side, x : x + side]
  turned = crop.copy()
  quarters = generator.choice((1, 3))
  turned[window] = np.rot90(crop[window], quarters)
  return turned


_DEFECTS: dict[str, Callable[..., _Crop]] = {
  "foreign": _foreign,
  "blur": _blurred,
  "stain": _stained,
  "turn": _turned,
}
