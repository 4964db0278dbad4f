"""Heat maps and boxes of the few pairs (image, prototype) that are shown.

`prototypical` calls `HeatMaps` with an image and some prototypes. `attribution`
computes the maps, `similarity_map` the boxes, and `colormap` paints.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
import numpy as np

from protojax.heat import attribution, colormap, receptive_field, similarity_map
from protojax.heat.receptive_field import ReceptiveField
from protojax.modify.modification import require_known
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.similarity import Similarity
from protojax.types import Array, ArrayLike, Box, Picture, State


class _Asked(NamedTuple):
  """Arguments of an attribution: one image, q prototypes, their cells."""

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
  "integrated_gradients": lambda a: attribution.integrated_gradients(*a[:5]),
  "occlusion": lambda a: attribution.occluded(*a[:5]),
  "grad_cam": lambda a: attribution.of_features(*a[:5]),
  "prp": lambda a: attribution.prp(*a[:5]),
}

# What a heat map can show; see `attribution`.
ATTRIBUTIONS = tuple(_HEATS)

# Attributions of single pixels, a few of which are far brighter than the rest.
_ROUGH = ("saliency", "smoothgrad", "integrated_gradients", "prp")
# Blur of a rough map, as a share of its side.
_BLUR = 1 / 48
_BRIGHTEST = 99.5  # percentile at which a rough map is clipped


class HeatMaps:
  """Gives a box and a heat map for each of some prototypes in an image."""

  # Prototypes in one call of the program, as many as a report lists. The shape
  # is always the same, so that one program serves every image.
  _AT_ONCE = 10

  def __init__(
    self, model: Explainable, state: State, heat: str = "upsampling"
  ) -> None:
    """Prepares the program.

    Args:
      model: see `Explainable`.
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
    """The box of the 95th percentile and the heat map of each prototype.

    Args:
      image: the image.
      prototypes: numbers of the prototypes.
      index: position of the image in its source; seeds the noise.
      embedded: features of the image; computed if None.

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
    """The part of the image that a cell can see."""
    return Box(*self._receptive.box(cell).tolist())


def _smooth(maps: np.ndarray) -> np.ndarray:
  """Makes rough maps readable: blurs them and clips the brightest pixels."""
  from scipy import ndimage  # Here: it takes a third of a second.

  sigma = _BLUR * maps.shape[-1]
  blurred = ndimage.gaussian_filter(maps, (0, sigma, sigma))
  top = np.percentile(blurred, _BRIGHTEST, axis=(1, 2), keepdims=True)
  return np.minimum(blurred, top)


def _receptive(model: Explainable, state: State) -> ReceptiveField:
  _, height, width, _ = model.bank(state).vectors.shape
  return receptive_field.chain(
    model.backbone.layers, model.image_size, height, width
  )


@functools.lru_cache(maxsize=16)
def _maps(model: Explainable, heat: str) -> Callable[..., tuple[Array, Array]]:
  """(state, image, prototypes q, index, features or None) -> two maps q H W.

  The first is the upsampled similarity, the second the heat map.
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
      model.bank(state).vectors[prototypes][None],
      cells[:, prototypes],
      model.similarity,
      _receptive(model, state),
      index[None],
    )
    # Reuses the features: the compiler would run a second forward pass.
    once = asked._replace(embed=lambda images: features)
    similar = _HEATS["upsampling"](once)[0]
    if heat == "upsampling":
      return similar, similar
    return similar, _HEATS[heat](asked)[0]

  return jax.jit(maps)
