"""Latents of an image and of its mirror image: made once, drawn at each step.

An autoencoder does not commute with mirroring, so that a flip of a latent image
is not the latent image of the flip.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from protojax.diffusion import pixels
from protojax.diffusion.autoencoder import Autoencoder, Latents
from protojax.types import Batch, PyTree


def encoded(
  module: Autoencoder, variables: PyTree, batch: Batch
) -> dict[str, Any]:
  """Latents of images and of their mirror images.

  Args:
    module: the autoencoder.
    variables: of it.
    batch: with "image" uint8 [b H W 3].

  Returns:
    "latents" float32 [b 2 h w 2c]: of an image and its mirror image, means and
    deviations side by side.
  """
  images = pixels.signed(batch["image"])
  both = jnp.concatenate([images, images[:, :, ::-1]])
  found: Any = module.apply(variables, both, method="encode")
  latents = jnp.concatenate([found.mean, found.deviation], axis=-1)
  return {"latents": jnp.stack(jnp.split(latents, 2), axis=1)}


def drawn(batch: Batch, keys: Key[Array, " b"]) -> Float[Array, "b h w c"]:
  """A latent image for each example, of itself or of its mirror image.

  Args:
    batch: of `datasets.latents`, with "latent" and "flipped" [b h w 2c].
    keys: of each example.
  """
  for_flip, for_noise = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
  flips = jax.vmap(jax.random.bernoulli)(for_flip)[:, None, None, None]
  found = jnp.where(flips, batch["flipped"], batch["latent"])
  return Latents(*jnp.split(found, 2, axis=-1)).drawn(for_noise)
