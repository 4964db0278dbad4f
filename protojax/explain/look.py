"""Pictures of where prototypes look, for the few pairs that are shown.

`prototypical` asks it for a box and a heat map of an image and some of the
prototypes; `locate` and `colormap` make them out of similarity maps.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax.backbones import Backbone, receptive_field
from protojax.explain import colormap, locate
from protojax.explain.evidence import Box, Picture
from protojax.explain.sweep import Scored
from protojax.types import ArrayLike, State


@runtime_checkable
class Explainable(Scored, Protocol):
  """A model with prototypes that are patches; hashable.

  Its `State` also holds the buffer "provenance" of `prototypes.push`.
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """By label."""
    ...

  @property
  def image_size(self) -> int:
    """Side of the network's input in pixels."""
    ...

  @property
  def backbone(self) -> Backbone:
    """Its layers give the receptive field of a cell."""
    ...

  @property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of the cells."""
    ...

  def maps(
    self,
    state: State,
    images: UInt8[ArrayLike, "b H W 3"],
    prototypes: Int[ArrayLike, " q"],
  ) -> Float[jax.Array, "b h w q"]:
    """Similarity of every cell to a few prototypes."""
    ...


class Look:
  """Where in an image prototypes look: a box and a heat map for each."""

  # One shape for all, so that one program serves every image.
  _AT_ONCE = 8

  def __init__(self, model: Explainable, state: State) -> None:
    self._maps = _maps(model)
    self._state = jax.tree.map(jnp.asarray, state)
    self._size = model.image_size
    _, height, width, _ = state.params["prototypes"]["prototypes"].shape
    self._receptive = receptive_field.chain(
      model.backbone.layers, model.image_size, height, width
    )

  def __call__(
    self, image: UInt8[ArrayLike, "H W 3"], prototypes: Sequence[int]
  ) -> list[tuple[Box, Picture]]:
    """Of each prototype the 95th percentile's box and the heat map."""
    seen = []
    for start in range(0, len(prototypes), self._AT_ONCE):
      some = np.array(prototypes[start : start + self._AT_ONCE], np.int32)
      padded = np.pad(some, (0, self._AT_ONCE - len(some)), mode="edge")
      cells = np.asarray(self._maps(self._state, image[None], padded))[0]
      maps = locate.upsample(np.moveaxis(cells, -1, 0), self._size, self._size)
      maps = np.asarray(maps)[: len(some)]
      images = np.repeat(image[None], len(some), axis=0)
      heats = colormap.overlay(images, maps)
      for box, heat in zip(locate.percentile_box(maps), heats, strict=True):
        seen.append((Box(*box.tolist()), heat))
    return seen

  def field(self, cell: int) -> Box:
    """What a cell can see of the image."""
    return Box(*self._receptive.box(cell).tolist())


@functools.lru_cache(maxsize=16)
def _maps(model: Explainable) -> Callable[..., jax.Array]:
  return jax.jit(model.maps)
