"""The network of PatchCT: image and label names -> logits and similarities.

An image tower gives patches of several layers and a class token; maps bring
them into the space of the label embeddings, which are the prototypes. The
classifier and the transport read the same embeddings: with embeddings of its
own, the transport costs nothing once all of them point to the background.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, UInt8

from protojax.backbones.backbone import Backbone
from protojax.methods.patchct import labels as label_lib
from protojax.prototypes.bank import Bank
from protojax.text import tables
from protojax.text.tables import unit
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Of the temperature of the plans.
COLDEST, WARMEST = 0.02, 1.0
# Of the cosines of the classifier, as in CLIP.
_LARGEST_SCALE = 100.0


@struct.dataclass
class Found:
  """The results of a forward pass; jit drops those that a caller ignores.

  Fields are typed as Any for transformations.

  Attributes:
    patches: unit vectors of each used layer, [l b j d].
    token: adapted class token, unit, [b d].
    embeddings: unit vectors of the labels for each used layer, [l k d].
    cosines: of the class token and the labels, [b k].
    logits: scaled cosines and the bias, [b k].
  """

  patches: Any
  token: Any
  embeddings: Any
  cosines: Any
  logits: Any


class _Maps(nn.Module):
  """Patches of some layers and the class token -> the common space.

  Attributes:
    channels: d.
    names: of the layers; the last is that of the tower's answer.
    normed: whether the tower has put a norm behind its answer.
    shared: whether the class token has the map of the last layer's patches.
  """

  channels: int
  names: tuple[str, ...]
  normed: bool
  shared: bool

  @nn.compact
  def __call__(
    self, layers: tuple[Float[Array, "b j _"], ...], token: Float[Array, "b c"]
  ) -> tuple[Array, Array]:
    tokens = [*layers, token[:, None]]
    names = [*self.names, self.names[-1] if self.shared else "class"]
    made: dict[str, Any] = {}
    found = []
    for name, x in zip(names, tokens, strict=True):
      if name not in made:
        dense = nn.Dense(self.channels, use_bias=False, name=f"map_{name}")
        raw = self.normed and name in (self.names[-1], "class")
        norm = nn.LayerNorm(use_fast_variance=False, name=f"norm_{name}")
        made[name] = None if raw else norm, dense
      norm, dense = made[name]
      found.append(dense(norm(x) if norm else x))
    return jnp.stack(found[:-1]), found[-1][:, 0]


class _Adapter(nn.Module):
  """AL: what is added to the class token; nothing at its start."""

  @nn.compact
  def __call__(self, token: Float[Array, "b d"]) -> Float[Array, "b d"]:
    width = token.shape[-1]
    hidden = nn.gelu(nn.Dense(max(width // 4, 1), name="reduce")(token))
    zeros = nn.initializers.zeros
    return nn.Dense(width, kernel_init=zeros, name="expand")(hidden)


@dataclasses.dataclass(frozen=True)
class Network:
  """Image tower, label embeddings, and what joins them.

  Attributes:
    backbone: the image tower. Its class token is what it sows as such, or the
      mean over its map.
    levels: names of the layers whose patches are used, besides the last.
    channels: d, of the common space.
    labels: where the label embeddings come from.
    image_size: pixels on a side.
    scale: of the cosines at the start.
    temperature: T at the start.
    null: whether there is a null prototype.
    shared: whether the class token has the map of the last layer's patches.
  """

  backbone: Backbone
  levels: tuple[str, ...]
  channels: int
  labels: label_lib.Labels
  image_size: int
  scale: float
  temperature: float
  null: bool
  shared: bool

  @property
  def class_names(self) -> tuple[str, ...]:
    """Names of the labels, in the order of the logits."""
    return self.labels.names

  @functools.cached_property
  def grid(self) -> tuple[int, int]:
    """Rows and columns of patches."""
    return self.backbone.grid(self.image_size)

  @functools.cached_property
  def maps(self) -> _Maps:
    """The maps into the common space."""
    module = self.backbone.module
    shape = (1, self.image_size, self.image_size, 3)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    _, sown = jax.eval_shape(
      lambda x: module.init_with_output(
        jax.random.key(0), x, mutable=["params", "batch_stats", "intermediates"]
      ),
      images,
    )
    normed = "class_token" in sown["intermediates"]
    return _Maps(self.channels, (*self.levels, "last"), normed, self.shared)

  def init(self, key: Array, blank: bool = False) -> State:
    """A random start.

    Args:
      key: of the randomness.
      blank: zeros for an image tower whose weights will be loaded.
    """
    keys = jax.random.split(key, 5)
    backbone = self.backbone.init(keys[0], self.image_size, blank)
    params = {"backbone": backbone.pop("params")}
    statistics = {"backbone": backbone}
    images = jnp.zeros((1, self.image_size, self.image_size, 3), jnp.uint8)
    sown, _ = jax.eval_shape(
      lambda p, s: self._tower(p, s, images, False), params, statistics
    )
    layers, token = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sown)
    made, buffers = self.labels.init(keys[1], self.channels, len(self.levels))
    params |= made
    params["maps"] = self.maps.init(keys[2], layers, token)["params"]
    params["adapter"] = _Adapter().init(keys[3], jnp.zeros((1, self.channels)))[
      "params"
    ]
    params["classifier"] = {
      "scale": jnp.log(jnp.float32(self.scale)),
      "bias": jnp.zeros(()),
    }
    params["temperature"] = {"log": jnp.log(jnp.float32(self.temperature))}
    if self.null:
      params["null"] = {"vector": tables.learned(keys[4], 1, self.channels)}
    return State(params, statistics, buffers)

  def forward(
    self, params: PyTree, state: State, batch: Batch, train: bool = False
  ) -> tuple[Found, PyTree]:
    """One forward pass, and the statistics, which training moves.

    Args:
      params: `state.params`, or parameters that a gradient is taken of.
      state: the rest of the model.
      batch: with "image".
      train: BatchNorm normalises by the batch.
    """
    (layers, token), statistics = self._tower(
      params, state.statistics, batch["image"], train
    )
    apply: Any = self.maps.apply
    patches, token = apply({"params": params["maps"]}, layers, token)
    adapt: Any = _Adapter().apply
    token = unit(token + adapt({"params": params["adapter"]}, token))
    embeddings = self.labels.embeddings(params, state, len(self.levels))
    cosines = jnp.matmul(
      token, embeddings[-1].T, precision=jax.lax.Precision.HIGHEST
    )
    logits = self.logits(params, cosines)
    return Found(unit(patches), token, embeddings, cosines, logits), statistics

  def _tower(
    self, params: PyTree, statistics: PyTree, images: ArrayLike, train: bool
  ) -> tuple[tuple[tuple[Array, ...], Array], PyTree]:
    """Patches of the layers, [b j c] each, and the class token, [b c]."""
    apply: Any = self.backbone.module.apply
    own = statistics["backbone"]
    x = self.backbone.normalise(jnp.asarray(images))
    last, moved = apply(
      {"params": params["backbone"], **own},
      x,
      train,
      mutable=["intermediates", *(own if train else ())],
    )
    sown = moved["intermediates"]
    b, h, w, _ = last.shape
    layers = [
      jax.image.resize(m, (b, h, w, m.shape[-1]), "linear")
      for m in (sown[name][0] for name in self.levels)
    ]
    flat = tuple(m.reshape(b, h * w, -1) for m in (*layers, last))
    token = (
      sown["class_token"][0] if "class_token" in sown else flat[-1].mean(1)
    )
    kept = {name: moved[name] for name in own} if train else own
    return (flat, token), {"backbone": kept}

  def similarity(self, params: PyTree, found: Found) -> Float[Array, "l b j c"]:
    """Cosines of patches and labels, of all layers.

    A null prototype is a further column behind the labels.
    """
    embeddings = found.embeddings
    if self.null:
      null = unit(params["null"]["vector"])[None]
      null = jnp.tile(null, (len(embeddings), 1, 1))
      embeddings = jnp.concatenate([embeddings, null], axis=1)
    # Layer by layer: one product over layers that share their labels is what
    # XLA gets wrong on a CPU with some flags; see `parallel`.
    return jnp.stack(
      [
        jnp.matmul(x, e.T, precision=jax.lax.Precision.HIGHEST)
        for x, e in zip(found.patches, embeddings, strict=True)
      ]
    )

  @staticmethod
  def logits(
    params: PyTree, scores: Float[ArrayLike, "b k"]
  ) -> Float[Array, "b k"]:
    """Logits of cosines, or of scores like them: scaled, with the bias."""
    c = params["classifier"]
    scale = jnp.minimum(jnp.exp(c["scale"]), _LARGEST_SCALE)
    return scale * jnp.asarray(scores) + c["bias"]

  @staticmethod
  def heat(params: PyTree) -> Float[Array, ""]:
    """T, the temperature of the plans."""
    found = jnp.exp(params["temperature"]["log"])
    return jnp.clip(found, COLDEST, WARMEST)

  # For explanations: patches of the last layer against the labels.

  def bank(self, state: State) -> Bank:
    """The label embeddings as prototypes, one for each label."""
    vectors = self.labels.embeddings(state.params, state, 0)[-1]
    count = len(vectors)
    return Bank(
      vectors[:, None, None],
      jnp.arange(count, dtype=jnp.int32),
      jnp.ones(count, bool),
    )

  def embed(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[Array, "b j d"]:
    """Unit vectors of the last layer's patches, row-major."""
    found, _ = self.forward(state.params, state, {"image": images})
    return found.patches[-1]

  def nearest(
    self, state: State, embedded: Float[ArrayLike, "b j d"]
  ) -> tuple[Float[Array, "b k"], Int[Array, "b k"]]:
    """The largest cosine of each label, and the patch that has it."""
    cosines = self.cosines(state, embedded)
    return cosines.max(axis=1), cosines.argmax(axis=1).astype(jnp.int32)

  def at(
    self,
    state: State,
    embedded: Float[ArrayLike, "b j d"],
    place: Int[ArrayLike, "b k"],
  ) -> Float[Array, "b k"]:
    """The cosine of each label with a given patch."""
    cosines = self.cosines(state, embedded)
    return jnp.take_along_axis(cosines, jnp.asarray(place)[:, None], 1)[:, 0]

  def cosines(
    self, state: State, embedded: Float[ArrayLike, "b j d"]
  ) -> Float[Array, "b j k"]:
    """Cosines of patches of the last layer and the labels."""
    embeddings = self.labels.embeddings(state.params, state, 0)[-1]
    return jnp.einsum(
      "bjd,kd->bjk", embedded, embeddings, precision=jax.lax.Precision.HIGHEST
    )

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Rows of `predict`.

    Returns:
      "logits" and "probabilities" [b k]; "similarities", the largest cosine of
      a patch with each label, and "cells", which patch, [b k]; "fused", the
      mean of that and the class token's cosine.
    """
    found, _ = self.forward(state.params, state, batch)
    s, cells = self.nearest(state, found.patches[-1])
    return {
      "logits": found.logits,
      "probabilities": jax.nn.sigmoid(found.logits),
      "similarities": s,
      "cells": cells,
      "fused": (found.cosines + s) / 2,
    }
