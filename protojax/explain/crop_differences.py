"""How two crops differ to the eye: a simple distance for each characteristic.

`misleading` compares these distances with the reasons of the model. `describe`
brings crops to one size and gives a few numbers for each, without a network;
`differences` compares them. Equal crops have distance 0. Each distance has its
own unit, so only distances of the same characteristic can be compared.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Bool, Float, UInt8
import numpy as np
from PIL import Image

from protojax.types import ArrayLike

# Pixels; crops are compared at this size.
SIDE = 48

# Differences that are hardly seen, in the units of `differences` (our choice):
# a tenth of the contrast, a level of chroma and of hue, half a pixel of
# outline, a tenth of a log spectrum. So the rounding of grey photographs does
# not count as another hue.
HARDLY_SEEN = np.array([0.1, 1.0, 1.0, 0.5, 0.1])

# BT.601, whose luma the modifications use: Y, Cb and Cr from R, G and B.
_YCBCR = np.array(
  [
    [0.299, 0.587, 0.114],
    [-0.168736, -0.331264, 0.5],
    [0.5, -0.418688, -0.081312],
  ]
)
_HUES = 36  # bins of the circle
_BANDS = 6  # of the spectrum
_OUTLINE = 1.5  # pixels of blur, so that edges are outlines and not grain
_STEEPEST = 0.1  # share of the pixels that are edges
_FAR = SIDE / 12  # pixels; the largest distance to an outline
# Grey levels; smaller changes come from rounding to bytes.
_FAINT = 1.0
_AT_ONCE = 256  # crops in floats; bounds the memory


class Descriptors(NamedTuple):
  """Descriptors of n crops.

  Attributes:
    contrast: log of the RMS contrast, the standard deviation of the luma.
    chroma: mean distance from grey in the plane of Cb and Cr, in grey levels.
    hues: histogram of the angles in that plane, weighted by chroma; sums to 1,
      or to 0 for a grey crop.
    outline: whether a pixel is among the steepest of the blurred luma.
    away: pixels to the nearest outline, at most `SIDE` / 12.
    spectrum: log energy of the luma in bands of spatial frequency, minus its
      mean over the bands, so that it does not depend on the contrast.
  """

  contrast: Float[np.ndarray, " n"]
  chroma: Float[np.ndarray, " n"]
  hues: Float[np.ndarray, "n hues"]
  outline: Bool[np.ndarray, "n H W"]
  away: Float[np.ndarray, "n H W"]
  spectrum: Float[np.ndarray, "n bands"]


def describe(crops: Sequence[UInt8[ArrayLike, "_ _ 3"]]) -> Descriptors:
  """Describes crops of any sizes; at least one."""
  described = [
    _describe(np.stack([resized(crop) for crop in crops[i : i + _AT_ONCE]]))
    for i in range(0, len(crops), _AT_ONCE)
  ]
  return Descriptors(*map(np.concatenate, zip(*described, strict=True)))


def differences(a: Descriptors, b: Descriptors) -> Float[np.ndarray, "n 5"]:
  """Distances of n pairs of crops, in the order of `CHARACTERISTICS`.

  contrast: |log| of the ratio of the RMS contrasts.
  saturation: between the mean chromas, in grey levels.
  hue: 2 sqrt(C_a C_b) sin(angle / 2), as CIE's difference of hue, in grey
    levels; small if one crop is nearly grey. The angle is the earth mover's
    distance of the hues on the circle.
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
  """A crop at the size at which crops are compared."""
  # Pillow's filter is wider where it shrinks a picture, so all pixels count.
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
  # With the circle cut at the median of the flow, nothing takes the long way.
  flow = np.cumsum(a - b, axis=1)
  flow -= np.median(flow, axis=1, keepdims=True)
  return np.sum(np.abs(flow), axis=1) * (2 * np.pi / _HUES)


def _outline(luma: np.ndarray) -> Bool[np.ndarray, "n H W"]:
  from scipy import ndimage  # Here: it takes a third of a second.

  blur = (0, _OUTLINE, _OUTLINE)
  down = ndimage.gaussian_filter(luma, blur, order=(0, 1, 0))
  across = ndimage.gaussian_filter(luma, blur, order=(0, 0, 1))
  slope = np.hypot(down, across)
  steep = np.quantile(slope, 1 - _STEEPEST, axis=(1, 2), keepdims=True)
  return slope >= np.maximum(steep, _FAINT)


def _away(outline: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
  from scipy import ndimage  # Here, as in `_outline`.

  if not outline.any():  # SciPy gives no distance then
    return np.full(outline.shape, _FAR)
  return np.minimum(np.asarray(ndimage.distance_transform_edt(~outline)), _FAR)


def _missed(a: Descriptors, b: Descriptors) -> Float[np.ndarray, " n"]:
  """Mean distance from the outline of a to the outline of b."""
  pixels = np.sum(a.outline, axis=(1, 2))
  total = np.sum(b.away, axis=(1, 2), where=a.outline)
  # A crop without outline is far from one with outline, and equal to another.
  nothing = np.where(np.any(b.outline, axis=(1, 2)), _FAR, 0.0)
  return np.where(pixels > 0, total / np.maximum(pixels, 1), nothing)


def _spectrum(luma: np.ndarray) -> Float[np.ndarray, "n bands"]:
  # Without a window the step between opposite borders fills all bands.
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
