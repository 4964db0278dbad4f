"""Corruptions: what happens to images on their way, harmless to the eye.

Blur, resizing and noise, on the device. JPEG needs the host:
`data.images.through_jpeg`. Images are float, 0 to 255, and stay in that range.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import Array, ArrayLike


def blurred(
  images: Float[ArrayLike, "b H W c"],
  sigma: Float[ArrayLike, ""] | float,
  radius: int,
) -> Float[Array, "b H W c"]:
  """Gaussian blur; beyond the border the image is mirrored.

  Args:
    images: to be blurred.
    sigma: of the kernel, in pixels; above 0.
    radius: pixels of the kernel on each side of its centre.
  """
  x = jnp.asarray(images)
  places = jnp.arange(-radius, radius + 1)
  kernel = jnp.exp(-((places / sigma) ** 2) / 2)
  kernel = kernel / jnp.sum(kernel)
  for axis in (1, 2):
    pads = [(radius, radius) if n == axis else (0, 0) for n in range(4)]
    padded = jnp.pad(x, pads, mode="symmetric")
    size = x.shape[axis]
    parts = [
      kernel[n] * jax.lax.slice_in_dim(padded, n, n + size, axis=axis)
      for n in range(2 * radius + 1)
    ]
    x = functools.reduce(jnp.add, parts)
  return x


def resized(
  images: Float[ArrayLike, "b H W c"], share: float
) -> Float[Array, "b H W c"]:
  """Images made smaller and brought back to their size, by linear filters.

  Args:
    images: to be resized.
    share: of each side that is left in between, above 0 and at most 1.
  """
  x = jnp.asarray(images)
  b, height, width, c = x.shape
  small = b, max(round(share * height), 1), max(round(share * width), 1), c
  return jax.image.resize(
    jax.image.resize(x, small, "linear"), x.shape, "linear"
  )


def noised(
  images: Float[ArrayLike, "b H W c"], keys: Array, sigma: float
) -> Float[Array, "b H W c"]:
  """Gaussian noise on each number.

  Args:
    images: to be changed.
    keys: one for each image, such as `parallel.example_keys`.
    sigma: of the noise, in grey levels.
  """
  x = jnp.asarray(images)
  noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
  return jnp.clip(x + sigma * noise, 0, 255)
