"""Why tiles are similar to the positive prototype of their bag.

The score of `explain.importance`: one characteristic of a tile is changed, and
the tile goes through the network among the instances of its bag, which stay as
they are, and so do the prototypes.
"""

from collections.abc import Callable, Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
import numpy as np

from protojax.explain.importance import importance
from protojax.methods.comel.network import Network
from protojax.modify.modification import Modification
from protojax.modify.presets import SIDES, Preset
from protojax.types import Array, ArrayLike, PyTree, State

_EXACT = jax.lax.Precision.HIGHEST


class Because:
  """Scores tiles; the network's kernels are merged once.

  Attributes:
    known: whether it is known what made the vectors of pictures.
  """

  def __init__(
    self,
    method: Any,
    state: State,
    preset: Preset,
    embed: tuple[Any, PyTree] | None,
  ) -> None:
    """Makes nothing ready if `embed` is None.

    Args:
      method: the method.
      state: of the method.
      preset: what is modified; the mode is always "fast".
      embed: (variables, pictures) -> vectors, on the device, and the variables;
        None: it is not known.
    """
    self.known = embed is not None
    self._embed, self._variables = embed or (None, {})
    self._network = method.network
    self._preset = preset
    if self.known:
      self._base = jax.jit(method.network.merged)(state.params)

  def of(
    self, bag: Any, tiles: UInt8[np.ndarray, "r H W 3"]
  ) -> tuple[
    Float[np.ndarray, " r"],
    Mapping[str, Float[np.ndarray, " r"]],
    tuple[str, ...],
  ]:
    """Similarity of tiles to z+, its loss by modification, what is left out.

    Args:
      bag: an `explanation.Bag`.
      tiles: of some of its instances.
    """
    grey = bool((tiles == tiles[..., :1]).all())
    chosen = self._preset.of_grey() if grey else self._preset
    names = self._preset.names
    # Not each direction of a change beside its name.
    wanted = [name for name in names if SIDES.get(name) not in names]
    left_out = tuple(name for name in wanted if name not in chosen.names)
    # A power of two, so that few shapes are compiled.
    count = len(bag)
    short = (1 << max(count - 1, 0).bit_length()) - count
    given = {
      name: np.pad(bag.given[name], ((0, short), (0, 0)))
      for name in ("vectors", "places")
    }
    similarity, delta = _scored(
      *(self._network, self._embed, chosen.modifications, self._variables),
      *(self._base, given["vectors"], np.arange(count + short) < count),
      *(given["places"], bag.rows["positive"], bag.rows["negative"], tiles),
    )
    scores = np.asarray(chosen.scores(delta))
    named = {name: scores[:, i] for i, name in enumerate(chosen.names)}
    return np.asarray(similarity), named, left_out


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _scored(
  network: Network,
  embed: Callable[[PyTree, ArrayLike], Array],
  modifications: tuple[Modification, ...],
  variables: PyTree,
  base: PyTree,
  vectors: Float[ArrayLike, "n c"],
  valid: ArrayLike,
  places: Float[ArrayLike, "n 2"],
  plus: Float[ArrayLike, " d"],
  minus: Float[ArrayLike, " d"],
  tiles: UInt8[ArrayLike, "r H W 3"],
) -> tuple[Float[Array, " r"], Float[Array, "r m"]]:
  """The centred cosine to z+, and what it loses by each modification."""
  contexts = network.contexts(base, vectors, valid, places)
  middle = (jnp.asarray(plus) + minus) / 2
  toward = _unit((jnp.asarray(plus) - middle)[None])

  def embedded(images: ArrayLike) -> Array:
    return network.among(base, contexts, embed(variables, images))

  def at(features: ArrayLike, place: PyTree) -> Array:
    del place  # A tile has one.
    off = _unit(jnp.asarray(features) - middle[None])
    return jnp.matmul(off, toward.T, precision=_EXACT)

  def nearest(features: ArrayLike) -> tuple[Array, Array]:
    found = at(features, None)
    return found, jnp.zeros(found.shape, jnp.int32)

  local = importance(nearest, at, tiles, modifications, embedded)
  return local.similarity[:, 0], local.delta[:, :, 0]


def _unit(x: Array) -> Array:
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-10)
