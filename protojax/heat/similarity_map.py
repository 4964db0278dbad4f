"""Upsamples similarity maps, and finds the box around their highest pixels.

`maps` needs both for the pictures of a report, and `colormap` paints the maps.
As in ProtoPNet's find_high_activation_crop (Chen et al., NeurIPS 2019) the box
holds every pixel above a percentile, in one region or in several.
"""

import jax
from jax import Array
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.types import ArrayLike


def upsample(
  maps: Float[ArrayLike, "b h w"], height: int, width: int
) -> Float[Array, "b {height} {width}"]:
  """Upsamples maps to height x width pixels by cubic interpolation.

  Equals OpenCV's INTER_CUBIC: a = -0.75, centres of cells at halves, border
  cells repeated. `jax.image.resize` has another a and another border.
  """
  _, h, w = maps.shape
  return jnp.einsum(
    "Hh,bhw,Ww->bHW",
    _cubic_matrix(h, height),
    jnp.asarray(maps, jnp.float32),
    _cubic_matrix(w, width),
    precision=jax.lax.Precision.HIGHEST,
  )


def percentile_box(
  maps: Float[ArrayLike, "b H W"], percentile: float = 95.0
) -> Int[np.ndarray, "b 4"]:
  """Smallest box around all pixels at or above a percentile of their map.

  Computed on the host, for the few maps that are shown, because a percentile
  sorts all pixels.

  Returns:
    y0, x0, y1, x1 of each map in pixels, ends exclusive.
  """
  maps = np.asarray(maps)
  threshold = np.percentile(maps, percentile, axis=(1, 2), keepdims=True)
  # NumPy interpolates in floats: on a flat map it may end above every pixel.
  threshold = np.minimum(threshold, maps.max(axis=(1, 2), keepdims=True))
  high = maps >= threshold
  y0, y1 = _extent(np.any(high, axis=2))
  x0, x1 = _extent(np.any(high, axis=1))
  return np.stack([y0, x0, y1, x1], axis=1)


def _extent(high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """First true position and the one after the last, of each row."""
  return high.argmax(axis=1), high.shape[1] - high[:, ::-1].argmax(axis=1)


def _cubic_matrix(cells: int, pixels: int) -> Float[np.ndarray, "H h"]:
  """Weight of each cell in each pixel, along one axis (Keys, 1981)."""
  a = -0.75
  centre = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
  first = np.floor(centre).astype(int) - 1
  matrix = np.zeros((pixels, cells))
  for tap in range(4):
    far = np.abs(centre - (first + tap))
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    beyond = ((far - 5) * far + 8) * far * a - 4 * a
    cell = np.clip(first + tap, 0, cells - 1)
    share = np.where(far <= 1, near, beyond)
    np.add.at(matrix, (np.arange(pixels), cell), share)
  return matrix.astype(np.float32)
