"""How two crops differ to the eye: one hand-made distance a characteristic.

`misleading` holds them against what the model says. Crops of any size are
brought to one, each is described by a few numbers (`describe`), and these are
compared (`differences`); no network takes part. Of equal crops all distances
are 0; each has a unit of its own, so that only those of one characteristic
compare.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float, UInt8
import numpy as np
from PIL import Image
from scipy import ndimage

from protojax.types import ArrayLike

# Pixels; crops are compared at this size.
SIDE = 48

# What is hardly seen, in the units of `differences` (our choice): a tenth of
# the contrast, a level of chroma and of hue, half a pixel of outline, a tenth
# of a spectrum's log. Of photographs that are all grey, none has another hue
# because of a rounding.
HARDLY_SEEN = np.array([0.1, 1.0, 1.0, 0.5, 0.1])

# BT.601, whose luma the modifications go by: Y, Cb and Cr of R, G and B.
_YCBCR = np.array(
  [
    [0.299, 0.587, 0.114],
    [-0.168736, -0.331264, 0.5],
    [0.5, -0.418688, -0.081312],
  ]
)
_HUES = 36  # bins of the circle
_BANDS = 6  # of the spectrum
_OUTLINE = 1.5  # pixels of blur before edges are sought: outlines, not grain
_STEEPEST = 0.1  # share of the pixels that are edges
_FAR = SIDE / 12  # beyond it an outline is missed, no matter by how much
# Grey levels: less is what rounding to bytes makes, not what is seen.
_FAINT = 1.0
_AT_ONCE = 256  # crops in floats; bounds the memory


class Descriptors(NamedTuple):
  """What the eye may read off n crops.

  Attributes:
    contrast: log of the RMS contrast, the standard deviation of the luma.
    chroma: mean distance from grey in the plane of Cb and Cr, in grey levels.
    hues: where on the circle of that plane the chroma lies; sums to 1, or is 0
      for a grey crop.
    outline: whether a pixel is among the steepest of the blurred luma.
    away: pixels to the nearest outline, at most `SIDE` / 12.
    spectrum: log energy of the luma in bands of spatial frequency, less its
      mean over the bands: fine against coarse, whatever the contrast.
  """

  contrast: Float[np.ndarray, " n"]
  chroma: Float[np.ndarray, " n"]
  hues: Float[np.ndarray, "n hues"]
  outline: Bool[np.ndarray, "n H W"]
  away: Float[np.ndarray, "n H W"]
  spectrum: Float[np.ndarray, "n bands"]


def describe(crops: Sequence[UInt8[ArrayLike, "_ _ 3"]]) -> Descriptors:
  """Describes crops, of whatever sizes; at least one."""
  parts = [
    _describe(np.stack([resized(crop) for crop in crops[i : i + _AT_ONCE]]))
    for i in range(0, len(crops), _AT_ONCE)
  ]
  return Descriptors(*map(np.concatenate, zip(*parts, strict=True)))


def differences(a: Descriptors, b: Descriptors) -> Float[np.ndarray, "n 5"]:
  """Distances of n pairs of crops, in the order of `CHARACTERISTICS`.

  contrast: |log| of the ratio of the RMS contrasts.
  saturation: between the mean chromas, in grey levels.
  hue: 2 sqrt(C_a C_b) sin(angle / 2), as CIE's difference of hue, so that
    where one is nearly grey the hue hardly counts; in grey levels. The angle
    is the mean one by which the chroma of one crop must turn to lie as that of
    the other (the earth mover's distance on the circle).
  shape: chamfer distance of the outlines both ways, in pixels of `SIDE`.
  texture: root mean square between the log spectra.
  """
  distances = (
    np.abs(a.contrast - b.contrast),
    np.abs(a.chroma - b.chroma),
    2 * np.sqrt(a.chroma * b.chroma) * np.sin(_turn(a.hues, b.hues) / 2),
    (_missed(a, b) + _missed(b, a)) / 2,
    np.sqrt(np.mean((a.spectrum - b.spectrum) ** 2, axis=1)),
  )
  return np.stack(distances, axis=1)


def resized(crop: ArrayLike) -> UInt8[np.ndarray, "H W 3"]:
  """A crop at the size that crops are compared at."""
  # Pillow's filter widens when it shrinks, so that no pixel is passed over.
  picture = Image.fromarray(np.asarray(crop))
  return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _describe(crops: UInt8[np.ndarray, "n H W 3"]) -> Descriptors:
  luma, cb, cr = np.moveaxis(crops @ _YCBCR.T, -1, 0)
  chroma = np.hypot(cb, cr)
  outline = _outline(luma)
  return Descriptors(
    contrast=np.log(np.maximum(np.std(luma, axis=(1, 2)), _FAINT)),
    chroma=np.mean(chroma, axis=(1, 2)),
    hues=_hues(np.arctan2(cr, cb), chroma),
    outline=outline,
    away=np.stack([_away(one) for one in outline]),
    spectrum=_spectrum(luma),
  )


def _hues(angle: np.ndarray, chroma: np.ndarray) -> np.ndarray:
  """Histogram of the angles, weighted by chroma."""
  bins = np.floor(angle / (2 * np.pi) * _HUES).astype(int) % _HUES
  rows = np.arange(len(bins))[:, None, None] * _HUES
  counts = np.bincount(
    (rows + bins).ravel(), chroma.ravel(), minlength=len(bins) * _HUES
  ).reshape(-1, _HUES)
  total = np.sum(counts, axis=1, keepdims=True)
  return counts / np.where(total > 0, total, 1.0)


def _turn(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " n"]:
  """Earth mover's distance of histograms on the circle, in radians."""
  # Cut open at the median of the flow nothing goes the long way round.
  flow = np.cumsum(a - b, axis=1)
  flow -= np.median(flow, axis=1, keepdims=True)
  return np.sum(np.abs(flow), axis=1) * (2 * np.pi / _HUES)


def _outline(luma: np.ndarray) -> Bool[np.ndarray, "n H W"]:
  blur = (0, _OUTLINE, _OUTLINE)
  down = ndimage.gaussian_filter(luma, blur, order=(0, 1, 0))
  across = ndimage.gaussian_filter(luma, blur, order=(0, 0, 1))
  slope = np.hypot(down, across)
  steep = np.quantile(slope, 1 - _STEEPEST, axis=(1, 2), keepdims=True)
  return slope >= np.maximum(steep, _FAINT)


def _away(outline: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
  if not outline.any():  # what SciPy returns then is no distance
    return np.full(outline.shape, _FAR)
  return np.minimum(np.asarray(ndimage.distance_transform_edt(~outline)), _FAR)


def _missed(a: Descriptors, b: Descriptors) -> Float[np.ndarray, " n"]:
  """How far the outline of one is from the other's, on the mean."""
  pixels = np.sum(a.outline, axis=(1, 2))
  total = np.sum(b.away, axis=(1, 2), where=a.outline)
  # A crop without outline is missed by one that has some, and equals another.
  nothing = np.where(np.any(b.outline, axis=(1, 2)), _FAR, 0.0)
  return np.where(pixels > 0, total / np.maximum(pixels, 1), nothing)


def _spectrum(luma: np.ndarray) -> Float[np.ndarray, "n bands"]:
  # Without a window the jump from border to border would fill all bands.
  window = np.hanning(SIDE + 2)[1:-1]
  window = window[:, None] * window[None]
  flat = luma - np.mean(luma, axis=(1, 2), keepdims=True)
  energy = np.abs(np.fft.fft2(flat * window[None])) ** 2
  steps = np.fft.fftfreq(SIDE)
  frequency = np.hypot(steps[:, None], steps[None])
  edges = np.geomspace(1 / SIDE, 0.5, _BANDS + 1)
  band = np.digitize(frequency, edges) - 1
  bands = np.stack(
    [np.mean(energy[:, band == i], axis=1) for i in range(_BANDS)], axis=1
  )
  # White noise of a grey level has this energy at every frequency.
  bands = np.log(bands + _FAINT**2 * np.sum(window**2))
  return bands - np.mean(bands, axis=1, keepdims=True)
