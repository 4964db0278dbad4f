"""Where the network works: in pixels, or in the latents of an autoencoder."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Float, Key, UInt8

from protojax.diffusion import flips, pixels
from protojax.diffusion.autoencoder import Autoencoder
from protojax.types import Array, ArrayLike, Batch, PyTree, UserError


@runtime_checkable
class Space(Protocol):
  """What the network sees of an image.

  Attributes:
    side: rows and columns.
    channels: of each.
  """

  @property
  def side(self) -> int:
    """Attribute."""
    ...

  @property
  def channels(self) -> int:
    """Attribute."""
    ...

  def drawn(
    self, batch: Batch, keys: Key[Array, " b"]
  ) -> Float[Array, "b h w c"]:
    """Examples to train on."""
    ...

  def clean(self, batch: Batch) -> Float[Array, "b h w c"]:
    """Examples to evaluate on, without anything drawn."""
    ...

  def images(
    self, assets: PyTree, x: Float[ArrayLike, "b h w c"]
  ) -> UInt8[Array, "b H W 3"]:
    """What a sampler made, as pixels."""
    ...


@dataclasses.dataclass(frozen=True)
class Pixels:
  """Images from -1 to 1, for small ones; see `Space`.

  Attributes:
    side: in pixels.
    channels: 3, or 1 for their mean: grey.
  """

  side: int
  channels: int

  def drawn(
    self, batch: Batch, keys: Key[Array, " b"]
  ) -> Float[Array, "b h w c"]:
    """The images; nothing is drawn."""
    del keys
    return self.clean(batch)

  def clean(self, batch: Batch) -> Float[Array, "b h w c"]:
    """The images."""
    return self.encoded(batch["image"])

  def encoded(
    self, images: UInt8[ArrayLike, "b H W 3"] | Float[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b h w c"]:
    """Images as the network sees them."""
    x = pixels.signed(images)
    return jnp.mean(x, axis=-1, keepdims=True) if self.channels == 1 else x

  def images(
    self, assets: PyTree, x: Float[ArrayLike, "b h w c"]
  ) -> UInt8[Array, "b H W 3"]:
    """Rounded; grey ones have three equal channels."""
    del assets
    found = pixels.as_bytes(x)
    return jnp.repeat(found, 3, axis=-1) if self.channels == 1 else found


@dataclasses.dataclass(frozen=True)
class Latents:
  """Prepared latent images; see `Space` and `datasets.latents`.

  Attributes:
    side: rows and columns of a latent image.
    channels: of it.
    autoencoder: its layers; None: images cannot be made, but trained on.
  """

  side: int
  channels: int
  autoencoder: Autoencoder | None = None

  def drawn(
    self, batch: Batch, keys: Key[Array, " b"]
  ) -> Float[Array, "b h w c"]:
    """Latents of the image or its mirror image, drawn."""
    return flips.drawn(batch, keys)

  def clean(self, batch: Batch) -> Float[Array, "b h w c"]:
    """The means of the latents of the image as it is."""
    return jnp.asarray(batch["latent"])[..., : self.channels]

  def images(
    self, assets: PyTree, x: Float[ArrayLike, "b h w c"]
  ) -> UInt8[Array, "b H W 3"]:
    """Latents decoded.

    Raises:
      UserError: there is no autoencoder.
    """
    if self.autoencoder is None:
      raise UserError(
        "this run makes latent images, which an autoencoder turns into images:"
        " train it with --config.space.autoencoder=FILE, the file that the"
        " latents were prepared with"
      )
    decode: Any = self.autoencoder.apply
    found = decode(assets["autoencoder"], jnp.asarray(x), method="decode")
    return pixels.as_bytes(found)
