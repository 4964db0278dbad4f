"""Where in an image a prototype looks: from a map of similarities to a box.

The pictures of a report need it: the map of a grid of cells is brought to
pixels, its highest part is framed, and `colormap` paints it. As in ProtoPNet's
find_high_activation_crop (Chen et al., NeurIPS 2019) the box holds every pixel
above the percentile, be they one region or many.
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
  """Maps brought to height x width pixels by cubic interpolation.

  Equals OpenCV's INTER_CUBIC: a = -0.75, centres of cells at halves, the
  border cell repeated. `jax.image.resize` has another a and another border.
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

  Computed on the host, for the few maps that are shown: a percentile sorts
  all pixels.

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


def _extent(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """First true position and the one after the last, by row."""
  return mask.argmax(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1)


def _cubic_matrix(cells: int, pixels: int) -> Float[np.ndarray, "H h"]:
  """Share of each cell in each pixel, along one axis (Keys, 1981)."""
  a = -0.75
  centre = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
  first = np.floor(centre).astype(int) - 1
  matrix = np.zeros((pixels, cells))
  for tap in range(4):
    far = np.abs(centre - (first + tap))
    near_part = ((a + 2) * far - (a + 3)) * far**2 + 1
    far_part = ((far - 5) * far + 8) * far * a - 4 * a
    cell = np.clip(first + tap, 0, cells - 1)
    share = np.where(far <= 1, near_part, far_part)
    np.add.at(matrix, (np.arange(pixels), cell), share)
  return matrix.astype(np.float32)
