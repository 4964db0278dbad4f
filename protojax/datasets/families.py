"""Families of regenerated images: what generators do to pixels, in small.

Each takes a real patch apart and makes it anew, and leaves traces of its own:
upsampling from half the size by several kernels, blocks rebuilt from few
components, from a codebook or from few cosines, smoothing, and decoders with
transposed convolutions. Some are fitted to real patches first, in closed form.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

from jaxtyping import Float
import numpy as np
from PIL import Image
from scipy import fft, ndimage

Patch = Float[np.ndarray, "S S 3"]
Patches = Float[np.ndarray, "n S S 3"]
Regenerate = Callable[[Patch], Patch]

# What a family keeps of a block, or takes for grain.
_COMPONENTS, _CODES, _COSINES = 16, 256, 4
_GRAIN = 14.0  # grey levels
_RIDGE = 1e-3


class Family(NamedTuple):
  """A generator.

  Attributes:
    name: of it.
    fit: real patches -> what makes a patch anew, in grey levels 0 to 255.
  """

  name: str
  fit: Callable[[Patches], Regenerate]


def _halved(patch: Patch) -> Float[np.ndarray, "s s 3"]:
  side = len(patch) // 2
  return patch.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))


def _upsampled(kernel: tuple[float, ...], patch: Patch) -> Patch:
  """Zeros are put between the pixels of half the size, and filtered."""
  spread = np.zeros_like(patch)
  spread[::2, ::2] = _halved(patch)
  for axis in (0, 1):
    spread = ndimage.convolve1d(spread, np.array(kernel), axis, mode="wrap")
  return spread


def _lanczos(patch: Patch) -> Patch:
  side = len(patch)
  small = Image.fromarray(np.rint(_halved(patch)).astype(np.uint8))
  return np.asarray(small.resize((side, side), Image.Resampling.LANCZOS), float)


def _median(patch: Patch) -> Patch:
  return ndimage.median_filter(patch, (3, 3, 1))


def _sharpened(patch: Patch) -> Patch:
  soft, softer = (
    ndimage.gaussian_filter(patch, (sigma, sigma, 0)) for sigma in (1.0, 2.0)
  )
  return soft + 1.2 * (soft - softer)


def _bilateral(patch: Patch) -> Patch:
  """A mean over near pixels of a similar colour."""
  total, weights = np.zeros_like(patch), np.zeros((*patch.shape[:2], 1))
  for y in range(-2, 3):
    for x in range(-2, 3):
      other = np.roll(patch, (y, x), axis=(0, 1))
      apart = np.sum((other - patch) ** 2, axis=-1, keepdims=True)
      near = np.exp(-(y * y + x * x) / 8 - apart / (2 * 40.0**2))
      total, weights = total + near * other, weights + near
  return total / weights


def _haar(patch: Patch) -> Patch:
  """Differences within 2 x 2 pixels that are no more than grain are lost."""
  side = len(patch) // 2
  cells = patch.reshape(side, 2, side, 2, 3)
  mean = cells.mean(axis=(1, 3), keepdims=True)
  detail = cells - mean
  shrunk = np.sign(detail) * np.maximum(np.abs(detail) - _GRAIN, 0)
  return (mean + shrunk).reshape(patch.shape)


def _blocks(patches: Patches, size: int) -> Float[np.ndarray, "m c"]:
  n, side = len(patches), patches.shape[1] // size
  cut = patches.reshape(n, side, size, side, size, 3)
  return np.moveaxis(cut, 3, 2).reshape(-1, size * size * 3)


def _joined(blocks: Float[np.ndarray, "m c"], side: int, size: int) -> Patch:
  count = side // size
  cut = blocks.reshape(count, count, size, size, 3)
  return np.moveaxis(cut, 2, 1).reshape(side, side, 3)


def _components(patches: Patches) -> Regenerate:
  blocks = _blocks(patches, 8)
  mean = blocks.mean(axis=0)
  _, vectors = np.linalg.eigh(np.cov(blocks.T))
  kept = vectors[:, -_COMPONENTS:]

  def regenerate(patch: Patch) -> Patch:
    coded = (_blocks(patch[None], 8) - mean) @ kept
    return _joined(coded @ kept.T + mean, len(patch), 8)

  return regenerate


def _codebook(patches: Patches) -> Regenerate:
  """Vector quantisation of 4 x 4 pixels, by k-means."""
  rng = np.random.default_rng(0)
  blocks = _blocks(patches, 4)
  blocks = blocks[rng.choice(len(blocks), min(len(blocks), 4000), False)]
  codes = blocks[rng.choice(len(blocks), _CODES, False)]
  for _ in range(8):
    nearest = _nearest(blocks, codes)
    sums = np.zeros_like(codes)
    np.add.at(sums, nearest, blocks)
    counts = np.bincount(nearest, minlength=_CODES)[:, None]
    codes = np.where(counts, sums / np.maximum(counts, 1), codes)

  def regenerate(patch: Patch) -> Patch:
    own = _blocks(patch[None], 4)
    return _joined(codes[_nearest(own, codes)], len(patch), 4)

  return regenerate


def _nearest(blocks: np.ndarray, codes: np.ndarray) -> np.ndarray:
  return np.argmin((codes**2).sum(1) - 2 * blocks @ codes.T, axis=1)


def _cosine(patch: Patch) -> Patch:
  """Of 8 x 8 cosines of each block those of the lowest frequencies stay."""
  side = len(patch)
  blocks = _blocks(patch[None], 8).reshape(-1, 8, 8, 3)
  found = fft.dctn(blocks, axes=(1, 2), norm="ortho")
  u, v = np.indices((8, 8))
  found *= (u + v < _COSINES)[None, :, :, None]
  made = fft.idctn(found, axes=(1, 2), norm="ortho")
  return _joined(made.reshape(len(blocks), -1), side, 8)


def _decoder(stride: int, channels: int, seed: int, patches: Patches):
  """Random strided filters with ReLU; transposed convolutions by regression.

  Each pixel of a cell is a linear function of the codes of 3 x 3 cells, with
  weights of its own: so does a transposed convolution.
  """
  rng = np.random.default_rng(seed)
  filters = rng.normal(size=(stride * stride * 3, channels)) / stride

  def codes(patches: Patches) -> np.ndarray:
    n, side = len(patches), patches.shape[1] // stride
    found = (_blocks(patches, stride) / 127.5 - 1) @ filters
    # Both signs: nothing that the filters see is lost at once.
    found = np.maximum(np.concatenate([found, -found], axis=1), 0)
    found = found.reshape(n, side, side, -1)
    padded = np.pad(found, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    around = [
      padded[:, y : y + side, x : x + side] for y in range(3) for x in range(3)
    ]
    flat = np.concatenate(around, axis=-1).reshape(n * side * side, -1)
    return np.concatenate([flat, np.ones((len(flat), 1))], axis=1)

  seen = codes(patches)
  gram = seen.T @ seen
  gram += _RIDGE * len(seen) * np.eye(len(gram))
  weights = np.linalg.solve(gram, seen.T @ _blocks(patches, stride))

  def regenerate(patch: Patch) -> Patch:
    return _joined(codes(patch[None]) @ weights, len(patch), stride)

  return regenerate


def _unfitted(regenerate: Regenerate) -> Callable[[Patches], Regenerate]:
  return lambda patches: regenerate


def _kernel(*weights: float) -> Callable[[Patches], Regenerate]:
  return _unfitted(functools.partial(_upsampled, weights))


# Trained on in this order; the last ones are held out whole.
TRAINED = (
  Family("nearest", _kernel(0.0, 1.0, 1.0)),
  Family("cosine", _unfitted(_cosine)),
  Family("decoder_2", functools.partial(_decoder, 2, 6, 0)),
  Family("codebook", _codebook),
  Family("bilinear", _kernel(0.0, 0.25, 0.75, 0.75, 0.25)),
  Family("median", _unfitted(_median)),
  Family("components", _components),
  Family("sharpened", _unfitted(_sharpened)),
)
HELD_OUT = (
  # The weights of two phases differ: a chequerboard.
  Family("chequered", _kernel(0.47, 1.0, 0.47)),
  Family("lanczos", _unfitted(_lanczos)),
  Family("bilateral", _unfitted(_bilateral)),
  Family("haar", _unfitted(_haar)),
  Family("decoder_4", functools.partial(_decoder, 4, 20, 1)),
)
