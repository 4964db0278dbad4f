"""Snow, frost and fog over an image.

As Hendrycks & Dietterich (ICLR 2019) have them, but for frost: they lay
photographs of frozen panes over an image, and we make the texture. Images are
single ones, 0..1.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.modify import blurs
from protojax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST
# Luma of red, green and blue (OpenCV's).
_LUMA = (0.299, 0.587, 0.114)
# Of frost: levels of the ridges, how sharp they are, the colour of ice.
_RIDGES, _SHARP = 4, 3.0
_ICE = (0.85, 0.93, 1.0)


def snowed(
  image: Float[Array, "H W 3"],
  key: Array,
  mean: float,
  deviation: float,
  zoom: float,
  threshold: float,
  radius: float,
  sigma: float,
  share: float,
) -> Float[Array, "H W 3"]:
  """Flakes that fall, twice, over a whitened image.

  Args:
    image: 0..1.
    key: of the flakes and of the way they fall.
    mean, deviation: of the numbers that flakes are made of.
    zoom: size of a flake in pixels, about.
    threshold: numbers below it are no flake.
    radius, sigma: of the trace of a flake.
    share: of the image that is not whitened.
  """
  for_flakes, for_angle = jax.random.split(key)
  layer = mean + deviation * jax.random.normal(for_flakes, image.shape[:2])
  layer = zoomed(layer, zoom)
  layer = jnp.clip(jnp.where(layer < threshold, 0, layer), 0, 1)
  angle = jax.random.uniform(for_angle, minval=-135.0, maxval=-45.0)
  layer = blurs.moved(layer[..., None], jnp.deg2rad(angle), radius, sigma)
  grey = image @ jnp.asarray(_LUMA)[:, None]
  white = jnp.maximum(image, 1.5 * grey + 0.5)
  found = share * image + (1 - share) * white
  return jnp.clip(found + layer + layer[::-1, ::-1], 0, 1)


def frosted(
  image: Float[Array, "H W 3"], key: Array, kept: float, ice: float
) -> Float[Array, "H W 3"]:
  """A frozen pane before an image: kept x image + ice x texture.

  The texture is ours: ridges of random maps, fine and coarse, in the colour of
  ice.

  Args:
    image: 0..1.
    key: of the texture.
    kept: weight of the image.
    ice: weight of the texture.
  """
  height, width, _ = image.shape
  rough = jnp.zeros((height, width))
  for own in jax.random.split(key, _RIDGES):
    ridge = 1 - jnp.abs(2 * plasma(own, height, width, 1.7) - 1)
    rough = jnp.maximum(rough, ridge**_SHARP)
  pane = rough[..., None] * jnp.asarray(_ICE)[None, None]
  return jnp.clip(kept * image + ice * pane, 0, 1)


def fogged(
  image: Float[Array, "H W 3"], key: Array, density: float, decay: float
) -> Float[Array, "H W 3"]:
  """Clouds added to an image, which is darkened to what it was at most.

  Args:
    image: 0..1.
    key: of the clouds.
    density: of the clouds.
    decay: of their detail; see `plasma`.
  """
  height, width, _ = image.shape
  brightest = jnp.max(image)
  clouds = plasma(key, height, width, decay)[..., None]
  found = (image + density * clouds) * brightest / (brightest + density)
  return jnp.clip(found, 0, 1)


def plasma(
  key: Array, height: int, width: int, decay: float
) -> Float[Array, "{height} {width}"]:
  """A random map 0..1 by the diamond-square algorithm, on a torus.

  Args:
    key: of the map.
    height, width: a corner of the smallest square of 2^k that holds both.
    decay: the noise of each finer level is smaller by its square.
  """
  levels = max(1, math.ceil(math.log2(max(height, width, 2))))
  grid, wibble = jnp.zeros((1, 1)), 1.0
  for level in range(levels):
    n = 2**level
    own = jax.random.fold_in(key, level)
    noise = jax.random.uniform(own, (3, n, n), minval=-wibble, maxval=wibble)
    # The middle of each square, then the middles of its sides.
    pair = grid + jnp.roll(grid, -1, 0)
    middle = (pair + jnp.roll(pair, -1, 1)) / 4 + noise[0]
    upper = middle + jnp.roll(middle, 1, 0) + grid + jnp.roll(grid, -1, 1)
    left = middle + jnp.roll(middle, 1, 1) + grid + jnp.roll(grid, -1, 0)
    even = jnp.stack([grid, upper / 4 + noise[1]], axis=-1)
    odd = jnp.stack([left / 4 + noise[2], middle], axis=-1)
    grid = jnp.stack([even, odd], axis=1).reshape(2 * n, 2 * n)
    wibble /= decay**2
  grid = grid - jnp.min(grid)
  grid = grid / jnp.maximum(jnp.max(grid), 1e-12)
  return grid[:height, :width]


def zoomed(plane: Float[Array, "H W"], factor: float) -> Float[Array, "H W"]:
  """The middle of a plane, enlarged to its size, bilinear.

  The corners of what is enlarged stay corners, as in `scipy.ndimage.zoom`.

  Args:
    plane: values.
    factor: of the enlargement, at least 1.
  """
  rows, columns = (_enlarging(n, factor) for n in plane.shape)
  return jnp.einsum("ij,jk,lk->il", rows, plane, columns, precision=_HIGHEST)


def _enlarging(size: int, factor: float) -> Float[np.ndarray, "size size"]:
  part = math.ceil(size / factor)
  whole = max(round(part * factor), size)
  start, trim = (size - part) // 2, (whole - size) // 2
  share = (part - 1) / max(whole - 1, 1)
  at = start + (np.arange(size) + trim) * share
  far = np.abs(at[:, None] - np.arange(size)[None])
  return np.maximum(1 - far, 0).astype(np.float32)
