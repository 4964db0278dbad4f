"""Pixels as a diffusion has them, in [-1, 1], and as files have them."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num, UInt8

from protojax.types import ArrayLike


def signed(images: Num[ArrayLike, "b h w c"]) -> Float[Array, "b h w c"]:
  """Pixels 0 to 255, of any type, in [-1, 1]."""
  return jnp.asarray(images, jnp.float32) / 127.5 - 1


def as_bytes(images: Float[ArrayLike, "b h w c"]) -> UInt8[Array, "b h w c"]:
  """Pixels in [-1, 1], cut off there and rounded, as 0 to 255."""
  bytes_of = jnp.clip((jnp.asarray(images) + 1) * 127.5, 0, 255)
  return jnp.round(bytes_of).astype(jnp.uint8)
