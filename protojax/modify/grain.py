"""The modification "grain": adds fine grain, the opposite of "texture".

The grain is the same for every image, so that a score does not depend on
chance, and begins at the upper left corner, so that padding changes nothing.
"""

import functools

from jax import Array
import jax.numpy as jnp
from jaxtyping import UInt8
import numpy as np

from protojax.types import ArrayLike

# Pixels; the grain repeats after so many. A prime, so that it does not repeat
# with the strides of networks.
_PERIOD = 257
_SEED = 20201103


def add(
  images: UInt8[ArrayLike, "b H W 3"], deviation: float
) -> UInt8[Array, "b H W 3"]:
  """Adds normally distributed grey levels, the same to all channels.

  Args:
    images: RGB.
    deviation: standard deviation in grey levels; sums are clipped to 0..255.
  """
  images = jnp.asarray(images, jnp.int32)
  rows, columns = (np.arange(n) % _PERIOD for n in images.shape[1:3])
  levels = np.rint(deviation * _tile()[rows[:, None], columns[None]])
  moved = images + jnp.asarray(levels.astype(np.int32))[None, :, :, None]
  return jnp.clip(moved, 0, 255).astype(jnp.uint8)


@functools.cache
def _tile() -> np.ndarray:
  """One period of the grain; made by NumPy, so that all backends have it."""
  return np.random.default_rng(_SEED).normal(size=(_PERIOD, _PERIOD))
