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

from protojax.layers.interpolation import cubic
from protojax.types import ArrayLike


def upsample(
  maps: Float[ArrayLike, "b h w"], height: int, width: int
) -> Float[Array, "b {height} {width}"]:
  """Upsamples maps to height x width pixels as OpenCV's INTER_CUBIC."""
  _, h, w = maps.shape
  return jnp.einsum(
    "Hh,bhw,Ww->bHW",
    cubic(h, height),
    jnp.asarray(maps, jnp.float32),
    cubic(w, width),
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
