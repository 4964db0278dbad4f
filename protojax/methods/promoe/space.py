"""Where the network works: pixels, scaled to [-1, 1]."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Float, UInt8

from protojax.types import Array, ArrayLike, Batch


@dataclasses.dataclass(frozen=True)
class Pixels:
  """Images as they are, for small ones.

  Attributes:
    side: in pixels.
    channels: 3, or 1 for their mean: grey.
  """

  side: int
  channels: int

  def clean(self, batch: Batch) -> Float[Array, "b h w c"]:
    """The examples of a batch, from -1 to 1."""
    return self.encoded(batch["image"])

  def encoded(
    self, images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b h w c"]:
    """Images as the network sees them."""
    x = jnp.asarray(images, jnp.float32) / 127.5 - 1
    return jnp.mean(x, axis=-1, keepdims=True) if self.channels == 1 else x

  def images(self, x: Float[ArrayLike, "b h w c"]) -> UInt8[Array, "b H W 3"]:
    """What a sampler made, as pixels."""
    x = jnp.clip(jnp.round((jnp.asarray(x) + 1) * 127.5), 0, 255)
    x = x.astype(jnp.uint8)
    return jnp.repeat(x, 3, axis=-1) if self.channels == 1 else x
