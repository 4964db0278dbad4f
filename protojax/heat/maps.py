"""Pictures of where prototypes look, for the few pairs that are shown.

`prototypical` asks it for a box and a heat map of an image and some of the
prototypes; `similarity_map` and `colormap` make them out of similarity maps.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
import numpy as np
from scipy import ndimage

from protojax.heat import attribution, colormap, receptive_field, similarity_map
from protojax.heat.receptive_field import ReceptiveField
from protojax.modify.modification import require_known
from protojax.prototypes.bank import vectors
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, Box, Picture, State


class _Asked(NamedTuple):
  """What a heat map is asked for: one image, q prototypes, their cells."""

  embed: attribution.Embed
  images: Array
  prototypes: Array
  cells: Array
  similarity: Similarity
  field: ReceptiveField
  index: Array


_HEATS: Mapping[str, Callable[[_Asked], Array]] = {
  "upsampling": lambda a: attribution.upsampling(
    a.embed, a.images, a.prototypes, a.similarity
  ),
  "receptive_field": lambda a: attribution.receptive_field(a.field, a.cells),
  "saliency": lambda a: attribution.saliency(*a[:5]),
  "smoothgrad": lambda a: attribution.smoothgrad(
    *a[:5], jax.random.key(0, impl="threefry2x32"), a.index
  ),
  "prp": lambda a: attribution.prp(*a[:5]),
}

# What a heat map can show; see `attribution`.
ATTRIBUTIONS = tuple(_HEATS)

# Those that speak of single pixels, a few of which outshine all others.
_ROUGH = ("saliency", "smoothgrad", "prp")
# Of the side of a map: how far a rough one is blurred for the eye.
_BLUR = 1 / 48
_BRIGHTEST = 99.5  # percentile that it is cut at


class HeatMaps:
  """Where in an image prototypes look: a box and a heat map for each."""

  # One shape for all, so that one program serves every image: as many as a
  # report lists.
  _AT_ONCE = 10

  def __init__(
    self, model: Explainable, state: State, heat: str = "upsampling"
  ) -> None:
    """Prepares to look.

    Args:
      model: what looks.
      state: its state.
      heat: what the heat maps show, one of `ATTRIBUTIONS`.

    Raises:
      UserError: there is no such attribution.
    """
    require_known("attribution", heat, ATTRIBUTIONS)
    self._maps, self._rough = _maps(model, heat), heat in _ROUGH
    self._state = jax.tree.map(jnp.asarray, state)
    self._receptive = _receptive(model, state)

  def __call__(
    self,
    image: UInt8[ArrayLike, "H W 3"],
    prototypes: Sequence[int],
    index: int = 0,
    embedded: Float[ArrayLike, "h w d"] | None = None,
  ) -> list[tuple[Box, Picture]]:
    """Of each prototype the 95th percentile's box and the heat map.

    Args:
      image: where to look.
      prototypes: those that look.
      index: position of the image in its source, for what is random.
      embedded: features of the image, where they have been made already.

    Raises:
      UserError: the network takes a step that the attribution has no rule for.
    """
    seen = []
    for start in range(0, len(prototypes), self._AT_ONCE):
      some = np.array(prototypes[start : start + self._AT_ONCE], np.int32)
      padded = np.pad(some, (0, self._AT_ONCE - len(some)), mode="edge")
      found = self._maps(self._state, image, padded, np.int32(index), embedded)
      similar, heat = (np.asarray(x)[: len(some)] for x in found)
      images = np.repeat(np.asarray(image)[None], len(some), axis=0)
      heats = colormap.overlay(images, _smooth(heat) if self._rough else heat)
      for box, picture in zip(
        similarity_map.percentile_box(similar), heats, strict=True
      ):
        seen.append((Box(*box.tolist()), picture))
    return seen

  def field(self, cell: int) -> Box:
    """What a cell can see of the image."""
    return Box(*self._receptive.box(cell).tolist())


def _smooth(maps: np.ndarray) -> np.ndarray:
  """Rough maps as the eye can read them: blurred, the brightest cut off."""
  sigma = _BLUR * maps.shape[-1]
  blurred = ndimage.gaussian_filter(maps, (0, sigma, sigma))
  top = np.percentile(blurred, _BRIGHTEST, axis=(1, 2), keepdims=True)
  return np.minimum(blurred, top)


def _receptive(model: Explainable, state: State) -> ReceptiveField:
  _, height, width, _ = vectors(state).shape
  return receptive_field.chain(
    model.backbone.layers, model.image_size, height, width
  )


@functools.lru_cache(maxsize=16)
def _maps(model: Explainable, heat: str) -> Callable[..., tuple[Array, Array]]:
  """(state, image, prototypes q, index, features) -> two maps q H W.

  Of similarity, and the heat map. Features are those of the image, or None.
  """

  def maps(
    state: State,
    image: Array,
    prototypes: Array,
    index: Array,
    embedded: Array | None,
  ) -> tuple[Array, Array]:
    embed, images = functools.partial(model.embed, state), image[None]
    features = embed(images) if embedded is None else embedded[None]
    _, cells = model.nearest(state, features)
    asked = _Asked(
      embed,
      images,
      vectors(state)[prototypes][None],
      cells[:, prototypes],
      model.similarity,
      _receptive(model, state),
      index[None],
    )
    # The compiler does not see that a second pass would be the same.
    once = asked._replace(embed=lambda images: features)
    similar = _HEATS["upsampling"](once)[0]
    if heat == "upsampling":
      return similar, similar
    return similar, _HEATS[heat](asked)[0]

  return jax.jit(maps)
