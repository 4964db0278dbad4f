"""A backbone with a finer map: its last one, upsampled.

ST-ProtoPNet brings 7 x 7 cells to 14 x 14 so that prototypes have finer places.
"""

import dataclasses
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from protojax.backbones.backbone import Backbone, Layer
from protojax.types import UserError


def upsampled(backbone: Backbone, factor: int) -> Backbone:
  """The backbone with `factor` times the cells on each side; 1: as it is.

  It has the same parameters, so the same weights fit. `levels` are those of the
  backbone, not upsampled.

  Raises:
    UserError: cells would be a fraction of a pixel apart.
  """
  if factor == 1:
    return backbone
  if backbone.stride % factor:
    raise UserError(
      f"--config.backbone.upsample is {factor}; it must divide the"
      f" {backbone.stride} pixels between cells of this backbone, as 2 does."
    )
  layer = Layer(2, upsampled=factor)
  return dataclasses.replace(
    backbone,
    module=Upsampled(backbone.module, factor),
    stride=backbone.stride // factor,
    layers=(*backbone.layers, layer),
  )


class Upsampled(nn.Module):
  """A network, and bilinear upsampling of its map.

  As PyTorch's Upsample without aligned corners: at the border, the outermost
  cells are repeated.

  Attributes:
    inner: images -> features; its parameters are those of this module.
    factor: cells for each cell, on each side.
  """

  inner: nn.Module
  factor: int

  def setup(self) -> None:
    """Takes the parameters' names from the network."""
    nn.share_scope(self, self.inner)

  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` as in the network."""
    network: Any = self.inner
    x = network(images, train)
    rows, columns = (_interpolation(n, self.factor) for n in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwd->bijd", rows, columns, x)


def _interpolation(size: int, factor: int) -> Float[np.ndarray, "m size"]:
  """Matrix from `size` cells to `factor` times as many."""
  at = (np.arange(size * factor) + 0.5) / factor - 0.5
  at = np.clip(at, 0, size - 1)[:, None]
  weights = np.maximum(1 - np.abs(at - np.arange(size)[None]), 0)
  return weights.astype(np.float32)
