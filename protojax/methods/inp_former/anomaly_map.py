"""Anomaly map and score: how badly each place of an image is rebuilt.

Last step of INP-Former (2503.02424): the encoder's and the decoder's tokens, in
groups -> cosine distance of every token -> map in pixels -> score of the image.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.prototypes.distance import PRECISION, direction
from protojax.types import ArrayLike

# The paper's smoothing, in pixels: 5 by 5, nearly a box.
_REACH = 2
_SIGMA = 4.0


def distance(
  encoded: Float[ArrayLike, "g b n d"], decoded: Float[ArrayLike, "g b n d"]
) -> Float[jax.Array, "g b n"]:
  """1 - cos of every token and its rebuilt token, in [0, 2]."""
  encoded = direction(jnp.asarray(encoded, jnp.float32))
  decoded = direction(jnp.asarray(decoded, jnp.float32))
  return jnp.clip(1.0 - jnp.sum(encoded * decoded, axis=-1), 0.0, 2.0)


def relative_length(
  encoded: Float[ArrayLike, "g b n d"],
) -> Float[jax.Array, "g b n"]:
  """Length of every token over the median length in its group and image.

  Standardised tokens are differences from the mean of normal tokens, so that a
  long one is far from all normal ones. `distance` sees the angle alone.
  """
  length = jnp.linalg.norm(jnp.asarray(encoded, jnp.float32), axis=-1)
  middle = jnp.median(length, axis=-1, keepdims=True)
  # 1 if the median is 0.
  return jnp.where(middle > 0, length / jnp.where(middle > 0, middle, 1.0), 1.0)


def at_pixels(
  maps: Float[ArrayLike, "g b h w"], image_size: int, map_size: int
) -> Float[jax.Array, "b H W"]:
  """Mean of the groups' maps, resized from cells to pixels and smoothed.

  Bilinear to `image_size` with the corners aligned, bilinear from there to
  `map_size` with the edges aligned, Gaussian with zeros around the map. Each
  step is linear and separable, so all steps together are one matrix for the
  rows and one for the columns.

  Args:
    maps: of each group, over the grid of cells.
    image_size: side of the images, in pixels.
    map_size: side of the result, in pixels.
  """
  *_, height, width = maps.shape
  return jnp.einsum(
    "Hh,bhw,Ww->bHW",
    _pixels_of_cells(height, image_size, map_size),
    jnp.mean(jnp.asarray(maps, jnp.float32), axis=0),
    _pixels_of_cells(width, image_size, map_size),
    precision=PRECISION,
  )


def image_score(
  maps: Float[ArrayLike, "b H W"], share: float = 0.01
) -> Float[jax.Array, " b"]:
  """Mean over the highest pixels of each map.

  Args:
    maps: anomaly maps.
    share: share of the pixels that count, rounded down; at least one counts.
  """
  flat = jnp.asarray(maps).reshape(len(maps), -1)
  # A sort of all pixels takes thirty times as long.
  highest, _ = jax.lax.top_k(flat, max(1, int(share * flat.shape[1])))
  return jnp.mean(highest, axis=1)


def _pixels_of_cells(cells: int, image_size: int, map_size: int) -> np.ndarray:
  """Upsampling, resizing and smoothing of one axis: [map_size, cells]."""
  upsampling = _bilinear(image_size, cells, align_corners=True)
  resizing = _bilinear(map_size, image_size, align_corners=False)
  return (_gaussian(map_size) @ resizing @ upsampling).astype(np.float32)


def _bilinear(outputs: int, inputs: int, align_corners: bool) -> np.ndarray:
  """Weights [outputs, inputs] of bilinear interpolation along an axis.

  Args:
    outputs: number of points of the result.
    inputs: number of points that are given.
    align_corners: the outermost points of both coincide; else the outer edges
      of the outermost pixels do.
  """
  at = np.arange(outputs)
  if align_corners:
    at = at * (inputs - 1) / max(outputs - 1, 1)
  else:
    at = np.clip((at + 0.5) * inputs / outputs - 0.5, 0, inputs - 1)
  return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(inputs)[None]))


def _gaussian(size: int) -> np.ndarray:
  """Weights [size, size] of the smoothing along an axis."""
  pixels = np.arange(size)
  offset = np.abs(pixels[:, None] - pixels[None])
  weights = np.where(offset <= _REACH, _bell(offset), 0.0)
  return weights / _bell(np.arange(-_REACH, _REACH + 1)).sum()


def _bell(offset: np.ndarray) -> np.ndarray:
  return np.exp(-0.5 * (offset / _SIGMA) ** 2)
