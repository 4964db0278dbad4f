"""The modification "grain": adds fine grain, the opposite of "texture".

The grain is as strong as the image's contrast lets it be seen, and the contrast
stays: a fixed grain would be a change of contrast for a pale image. The grain
is the same for every image, so that a score does not depend on chance, and
begins at the upper left corner, so that padding changes nothing.
"""

import functools

from jax import Array
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.modify import color
from protojax.types import ArrayLike

# Pixels; the grain repeats after so many. A prime, so that it does not repeat
# with the strides of networks.
_PERIOD = 257
_SEED = 20201103


def add(
  images: UInt8[ArrayLike, "b H W 3"],
  share: float,
  sizes: Int[ArrayLike, "b 2"] | None = None,
) -> UInt8[Array, "b H W 3"]:
  """Adds normally distributed grey levels, the same to all channels.

  The luma Y, of mean m and standard deviation s, becomes
  m + (Y - m + share s g) / sqrt(1 + share²) with grain g of deviation 1. So m
  and s stay, but for what is clipped to 0..255 and rounded.

  Args:
    images: RGB.
    share: deviation of the grain as a share of that of the image's luma.
    sizes: true height and width of images with padding at the bottom and at
      the right; mean and deviation leave the padding out.
  """
  before = color.luma(jnp.asarray(images)).astype(jnp.float32)
  rows, columns = (np.arange(n) % _PERIOD for n in before.shape[1:])
  grain = jnp.asarray(_tile()[rows[:, None], columns[None]])[None]
  mean, deviation = _moments(before, sizes)
  away = before - mean
  factor = 1 / np.sqrt(1 + share**2)
  after = (away + share * deviation * grain) * factor
  moved = jnp.rint(after - away).astype(jnp.int32)
  found = jnp.asarray(images, jnp.int32) + moved[..., None]
  return jnp.clip(found, 0, 255).astype(jnp.uint8)


def _moments(
  luma: Float[Array, "b H W"], sizes: Int[ArrayLike, "b 2"] | None
) -> tuple[Float[Array, "b 1 1"], Float[Array, "b 1 1"]]:
  """Mean and standard deviation over the true size of each image."""
  _, height, width = luma.shape
  inside = jnp.ones((1, height, width), bool)
  if sizes is not None:
    y, x = jnp.mgrid[:height, :width][:, None]
    rows, columns = jnp.asarray(sizes).T[:, :, None, None]
    inside = (y < rows) & (x < columns)
  over = {"axis": (1, 2), "keepdims": True, "where": inside}
  mean = jnp.mean(luma, **over)
  return mean, jnp.sqrt(jnp.mean((luma - mean) ** 2, **over))


@functools.cache
def _tile() -> Float[np.ndarray, "rows columns"]:
  """One period of the grain; made by NumPy, so that all backends have it."""
  drawn = np.random.default_rng(_SEED).normal(size=(_PERIOD, _PERIOD))
  return drawn.astype(np.float32)
