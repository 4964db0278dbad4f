"""Where the label embeddings come from: a table, or a text tower.

With a tower that is not trained, its vectors are an asset. Embeddings of layers
before the last are never trained by themselves: they are those of the last
layer, or states of the tower behind a random orthogonal map that stays.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax import text
from protojax.engine.assets import Asset
from protojax.text import tables
from protojax.text.tables import unit
from protojax.types import Array, ArrayLike, PyTree, State

EARLY = ("shared", "tower")
ASSET = "text"


@dataclasses.dataclass(frozen=True)
class Labels:
  """The embeddings of some labels.

  Attributes:
    names: of the labels.
    encoder: text tower; None: a table is learned.
    template: of the prompts.
    weights: of the tower; '' takes those that come as a package.
    trainable: whether the tower is trained.
    early: embeddings of the layers before the last: "shared" with the last, or
      those of the "tower".
  """

  names: tuple[str, ...]
  encoder: text.TextEncoder | None = None
  template: str = "A photo of a {}."
  weights: str = ""
  trainable: bool = False
  early: str = "shared"

  @property
  def assets(self) -> Mapping[str, Asset]:
    """The vectors of a tower that is not trained."""
    if self.encoder is None or self.trainable:
      return {}
    frozen = text.Frozen(self.encoder, self.weights, self.prompts)
    # Kept, since the user's file may go.
    return {ASSET: Asset(frozen.make, frozen.shapes, kept=True)}

  @functools.cached_property
  def prompts(self) -> tuple[str, ...]:
    """One for each label."""
    return text.prompts(self.template, self.names)

  def init(
    self, key: Array, channels: int, earlier: int
  ) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Groups of parameters, and buffers.

    Args:
      key: of the randomness.
      channels: d, of the common space.
      earlier: number of used layers before the last.
    """
    keys, e = jax.random.split(key, 3), self.encoder
    if e is None:
      table = tables.learned(keys[0], len(self.names), channels)
      return {"labels": {"table": table}}, {}
    orthogonal = jax.jit(nn.initializers.orthogonal(), static_argnums=1)
    # CLIP's vectors lie in the common space already.
    whole = e.channels == channels
    kernel = (
      jnp.eye(channels)
      if whole
      else orthogonal(keys[0], (e.channels, channels))
    )
    params: dict[str, PyTree] = {"labels": {"map": kernel}}
    buffers: dict[str, PyTree] = {}
    if self.early == "tower" and earlier:
      buffers["early_maps"] = jnp.stack(
        [
          orthogonal(k, (e.width, channels))
          for k in jax.random.split(keys[1], earlier)
        ]
      )
    if self.trainable:
      params["text"] = e.init(keys[2])
      tokens = e.tokenize(self.prompts)
      buffers |= {"ids": tokens.ids, "valid": tokens.valid}
    return params, buffers

  def embeddings(
    self, params: PyTree, state: State, earlier: int
  ) -> Float[Array, "l k d"]:
    """Unit vectors of the labels for each used layer; the last comes last.

    Args:
      params: `state.params`, or parameters that a gradient is taken of.
      state: of the model, with its assets.
      earlier: number of used layers before the last.
    """
    if self.encoder is None:
      last = unit(params["labels"]["table"])
      return jnp.tile(last[None], (earlier + 1, 1, 1))
    vectors = self._vectors(params, state)
    last = unit(_product(vectors["final"], params["labels"]["map"]))
    if self.early != "tower" or not earlier:
      return jnp.tile(last[None], (earlier + 1, 1, 1))
    states = _normed(vectors["pooled"][self._blocks(earlier)])
    found = unit(_product(states, state.buffers["early_maps"]))
    return jnp.concatenate([found, last[None]])

  def _vectors(self, params: PyTree, state: State) -> Mapping[str, Any]:
    if not self.trainable:
      return state.assets[ASSET]
    assert self.encoder is not None
    ids, valid = state.buffers["ids"], state.buffers["valid"]
    states = self.encoder(params["text"], ids, valid)
    return {"pooled": states.pooled, "final": states.final}

  def _blocks(self, earlier: int) -> np.ndarray:
    """Blocks of the tower beside the image's layers, evenly chosen."""
    assert self.encoder is not None
    blocks = self.encoder.blocks
    ends = np.linspace(0, blocks, earlier + 2)[1:-1]
    return np.maximum(ends.round().astype(int) - 1, 0)


def _product(x: ArrayLike, kernel: ArrayLike) -> Array:
  return jnp.matmul(jnp.asarray(x), kernel, precision=jax.lax.Precision.HIGHEST)


def _normed(x: ArrayLike) -> Array:
  """Every vector with mean 0 and variance 1."""
  x = jnp.asarray(x)
  x = x - jnp.mean(x, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6)
