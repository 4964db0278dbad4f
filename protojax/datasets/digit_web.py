"""An embedded web: digits with wrong labels, beside a few that are right.

Half of the scans of scikit-learn (the `demo` extra) are the real domain: a few
of each class are few-shot images, the others are for testing. The other half
became web images: inverted or not, on pieces of photographs, turned, moved and
blurred. Of these, `flipped` have the label of the next digit, and beside them
lie images of no digit, textures and pieces of a printed page, with a digit's
label; they are `outliers` of the web. What is true is known, and nothing but
the metrics and the reports sees it. All is drawn from the seed.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

from jaxtyping import Bool, Float, Int32, UInt8
import numpy as np
from PIL import Image, ImageFilter

from protojax import ranges
from protojax.data import splits
from protojax.datasets import digits, photos

SIDE = 16
CLASS_NAMES = digits.CLASS_NAMES
MOST_SHOTS = 16
# Of the config's numbers.
RANGES = {
  "shots": ranges.whole(0, MOST_SHOTS),
  "flipped": ranges.SHARE,
  "outliers": ranges.HELD_OUT,
  "web": ranges.whole(0, 100_000),
}
# Truth of an image of no class.
OUTLIER = -1
_BACKGROUNDS = ("astronaut", "chelsea", "coffee", "rocket")
_STRANGERS = ("brick", "grass", "gravel", "page")
_CUT = (16, 64)  # side of a piece of a photograph, in pixels
_TURN, _SHIFT, _ZOOM = 25.0, 2.0, (0.8, 1.1)  # degrees, pixels, factor
_BLUR = (0.0, 0.8)  # sigma, in pixels


@dataclasses.dataclass(frozen=True, eq=False)
class DigitWeb:
  """Digits of the web and few-shot images, or real ones; see `source.Source`.

  Attributes:
    images: at 16 pixels.
    labels: as they are given.
    trusted: few-shot images.
    truth: the digit that is shown; -1 for none.
    names: of the images.
  """

  images: UInt8[np.ndarray, "n 16 16 3"]
  labels: Int32[np.ndarray, " n"]
  trusted: Bool[np.ndarray, " n"]
  truth: Int32[np.ndarray, " n"]
  names: tuple[str, ...]
  class_names: tuple[str, ...] = CLASS_NAMES
  skipped: tuple[tuple[str, str], ...] = ()

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, i: int) -> dict:
    return {
      "image": self.images[i],
      "label": int(self.labels[i]),
      "name": self.names[i],
    }

  def name(self, i: int) -> str:
    """Such as "web-0123"; it does not tell the truth."""
    return self.names[i]


def load(data: Any, split: str, seed: int) -> DigitWeb:
  """Opens the training split, web and few-shot images, or the real test split.

  Args:
    data: `shots` (few-shot images of a class), `flipped` (share of the web's
      digits with a wrong label), `outliers` (share of the web that shows none),
      `web` (digits of the web at most; 0: half of the scans).
    split: "train" or "test".
    seed: of all randomness.

  Raises:
    UserError: scikit-image or scikit-learn is not installed, or a number is out
      of range.
  """
  for name, known in RANGES.items():
    known.require(f"data.{name}", data[name])
  whole = digits.whole(data)
  real = _half(whole.labels, seed)
  ranked = _ranked(whole.labels, real, seed)
  if split == "test":
    rest = np.setdiff1d(real, ranked)
    return _real(whole, rest, np.zeros(len(rest), bool))
  shots = np.sort(ranked[:, : data.shots].ravel())
  web = np.setdiff1d(np.arange(len(whole)), real)
  rng = np.random.default_rng([seed, 0])
  if data.web:
    web = np.sort(rng.permutation(web)[: data.web])
  return _joined(
    _web(whole, web, data.flipped, data.outliers, rng),
    _real(whole, shots, np.ones(len(shots), bool)),
  )


def _half(labels: Int32[np.ndarray, " n"], seed: int) -> np.ndarray:
  """Numbers of the scans of the real domain: half of each class."""
  found = []
  for digit in range(len(CLASS_NAMES)):
    own = np.flatnonzero(labels == digit)
    found.append(own[splits.held_out([str(i) for i in own], 0.5, seed)])
  return np.sort(np.concatenate(found))


def _ranked(
  labels: Int32[np.ndarray, " n"], real: np.ndarray, seed: int
) -> Int32[np.ndarray, "k r"]:
  """Numbers of the scans that may be few-shot images, [k 16], by rank.

  They are never tested on, so that runs with more or fewer few-shot images have
  the same test images, and more of them have those of fewer.
  """
  found = []
  for digit in range(len(CLASS_NAMES)):
    own = real[labels[real] == digit]
    ranked = sorted(own, key=lambda i: splits.draw(seed, f"shot {i}"))
    found.append(ranked[:MOST_SHOTS])
  return np.array(found, np.int32)


def _real(
  whole: digits.Digits, rows: np.ndarray, trusted: np.ndarray
) -> DigitWeb:
  """Scans as they are, at twice their size."""
  images = [np.asarray(_scan(whole.images[i])) for i in rows]
  labels = whole.labels[rows]
  return DigitWeb(
    np.stack(images) if images else np.zeros((0, SIDE, SIDE, 3), np.uint8),
    labels,
    trusted,
    labels,
    tuple(f"real-{whole.numbers[i]:04d}" for i in rows),
  )


def _web(
  whole: digits.Digits,
  rows: np.ndarray,
  flipped: float,
  outliers: float,
  rng: np.random.Generator,
) -> DigitWeb:
  """Images of the web, in random order, with the labels that they are given."""
  strange = round(len(rows) * outliers / (1 - outliers))
  images = [_changed(whole.images[i], rng) for i in rows]
  images += [_stranger(rng) for _ in range(strange)]
  truth = np.append(whole.labels[rows], np.full(strange, OUTLIER))
  truth = truth.astype(np.int32)
  labels = truth.copy()
  wrong = rng.permutation(len(rows))[: round(flipped * len(rows))]
  # Asymmetric: a digit is always taken for the one that follows.
  labels[wrong] = (labels[wrong] + 1) % len(CLASS_NAMES)
  labels[len(rows) :] = rng.integers(0, len(CLASS_NAMES), strange)
  order = rng.permutation(len(images))
  return DigitWeb(
    np.stack(images)[order],
    labels[order],
    np.zeros(len(images), bool),
    truth[order],
    tuple(f"web-{i:04d}" for i in range(len(images))),
  )


def _joined(one: DigitWeb, other: DigitWeb) -> DigitWeb:
  return DigitWeb(
    np.concatenate([one.images, other.images]),
    np.concatenate([one.labels, other.labels]),
    np.concatenate([one.trusted, other.trusted]),
    np.concatenate([one.truth, other.truth]),
    one.names + other.names,
  )


def _scan(image: UInt8[np.ndarray, "8 8 3"]) -> Image.Image:
  return Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _changed(
  image: UInt8[np.ndarray, "8 8 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "16 16 3"]:
  """A scan as the web has it."""
  angle = np.deg2rad(rng.uniform(-_TURN, _TURN))
  zoom, (dx, dy) = rng.uniform(*_ZOOM), rng.uniform(-_SHIFT, _SHIFT, 2)
  c, s = np.cos(angle) / zoom, np.sin(angle) / zoom
  middle = (SIDE - 1) / 2
  warp = (
    c, s, middle - c * (middle + dx) - s * (middle + dy),
    -s, c, middle + s * (middle + dx) - c * (middle + dy),
  )  # fmt: skip
  ink = (
    _scan(image)
    .convert("L")
    .transform(
      (SIDE, SIDE), Image.Transform.AFFINE, warp, Image.Resampling.BILINEAR
    )
  )
  share = np.asarray(ink, np.float64)[..., None] / 255
  behind = _piece(_BACKGROUNDS, rng).astype(np.float64)
  tone = rng.uniform(190, 255, 3)
  if rng.random() < 0.5:  # Inverted: dark on light.
    behind, tone = 128 + behind / 2, 255 - tone
  else:
    behind = behind / 2
  made = _rounded(behind * (1 - share) + tone * share)
  blurred = Image.fromarray(made).filter(
    ImageFilter.GaussianBlur(rng.uniform(*_BLUR))
  )
  return np.asarray(blurred)


def _stranger(rng: np.random.Generator) -> UInt8[np.ndarray, "16 16 3"]:
  """An image of no digit."""
  return _piece(_STRANGERS, rng)


def _piece(
  names: tuple[str, ...], rng: np.random.Generator
) -> UInt8[np.ndarray, "16 16 3"]:
  """A square of one of some photographs, at 16 pixels."""
  whole = _photograph(names[rng.integers(len(names))])
  side = int(rng.integers(_CUT[0], _CUT[1] + 1))
  y, x = (int(rng.integers(0, n - side + 1)) for n in whole.shape[:2])
  cut = Image.fromarray(np.ascontiguousarray(whole[y : y + side, x : x + side]))
  return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BOX))


def _rounded(image: Float[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
  return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


_photograph: Callable[[str], np.ndarray] = functools.cache(photos.photograph)
