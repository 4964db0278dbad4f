"""The network of GAPL: image -> embedding -> mixture of prototypes -> logit.

A frozen encoder with low-rank adapters, a projection to the unit sphere, and a
cross attention with one query, the embedding, and the same keys and values for
all images: the prototypes. The logit is a sum of what each prototype gives.
"""

from collections.abc import Mapping
import contextlib
import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.backbones.backbone import Backbone
from protojax.layers import adapted
from protojax.layers.adapted import Adapted
from protojax.methods.gapl import dictionary
from protojax.prototypes import bank
from protojax.prototypes.groups import CLASS, Groups
from protojax.types import Array, ArrayLike, Batch, PyTree, State

CLASS_NAMES = ("real", "generated")
_EXACT = jax.lax.Precision.HIGHEST
_EPSILON = 1e-12  # of a length


class Adapters(NamedTuple):
  """What the config says of adapters; see `layers.adapted.chosen`."""

  layers: str
  rank: int
  alpha: float
  dropout: float


class Found(NamedTuple):
  """Results of a forward pass.

  Attributes:
    embedding: f, unit vectors.
    mixed: what the classifier reads: f~, or f without prototypes.
    logit: z, above 0 for generated images.
    attention: weight of each prototype, mean over the heads; or None.
    points: what each prototype adds to z, exactly; or None.
  """

  embedding: Any
  mixed: Any
  logit: Any
  attention: Any
  points: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
  """Encoder, projection, prototypes and classifier.

  Attributes:
    backbone: the encoder. Its vector is the class token that it sows, or the
      mean over its map.
    image_size: pixels on a side.
    channels: d, of the embedding.
    count: N, prototypes of both classes; 0 for none.
    heads: of the attention.
    adapters: of the encoder; None: it is used as it is.
  """

  backbone: Backbone
  image_size: int
  channels: int
  count: int
  heads: int
  adapters: Adapters | None

  class_names: ClassVar[tuple[str, ...]] = CLASS_NAMES
  groups: ClassVar[Groups] = Groups(CLASS, CLASS_NAMES)

  @functools.cached_property
  def adapted(self) -> Adapted | None:
    """The adapters of the encoder's layers."""
    if self.adapters is None:
      return None
    return adapted.chosen(self._shapes["params"], *self.adapters)

  @functools.cached_property
  def _shapes(self) -> PyTree:
    init = functools.partial(self.backbone.init, image_size=self.image_size)
    return jax.eval_shape(init, jax.random.key(0))

  @functools.cached_property
  def width(self) -> int:
    """Channels of the encoder's vector."""
    images = jax.ShapeDtypeStruct((1, *[self.image_size] * 2, 3), jnp.uint8)
    found = jax.eval_shape(self.vectors, self._shapes, images)
    return found.shape[-1]

  def init(self, key: Array) -> State:
    """A random start; the adapters change nothing, prototypes are random."""
    keys = jax.random.split(key, 5)
    d = self.channels
    params: dict[str, PyTree] = {
      "projection": {"kernel": _linear(keys[0], self.width, d)},
      "bottleneck": {"kernel": _linear(keys[1], d, 1)},
      "classifier": {"kernel": _linear(keys[2], d, 1)},
    }
    buffers: dict[str, PyTree] = {"threshold": jnp.float32(0.5)}
    if self.count:
      params["attention"] = {
        name: {"kernel": made(k, d, d), "bias": jnp.zeros(d)}
        for (name, made), k in zip(
          _ATTENTION.items(), jax.random.split(keys[3], 4), strict=True
        )
      }
      rows = dictionary.random(keys[4], self.count, d)
      params["prototypes"] = bank.bank_params(rows[:, None, None])
      buffers |= bank.bank_buffers(np.repeat([0, 1], self.count // 2))
    if self.adapted is not None:
      start = jax.random.fold_in(key, 1)
      params["adapters"] = self.adapted.init(start, self._shapes["params"])
    return State(params, {}, buffers)

  def vectors(self, variables: PyTree, images: ArrayLike) -> Array:
    """The encoder's vector of each image, [b c].

    Args:
      variables: of the encoder, as they are or with merged adapters.
      images: pixels 0..255.
    """
    apply: Any = self.backbone.module.apply
    x = self.backbone.normalise(jnp.asarray(images))
    maps, sown = apply(variables, x, mutable=["intermediates"])
    token = sown.get("intermediates", {}).get("class_token")
    return token[0] if token else jnp.mean(maps, axis=(1, 2))

  def frozen(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Rows "vector" of the encoder without adapters."""
    return {"vector": self.vectors(state.assets["encoder"], batch["image"])}

  def encoder(self, state: State) -> PyTree:
    """The encoder with its adapters merged, for all but training."""
    variables = state.assets["encoder"]
    if self.adapted is None:
      return variables
    adapters = state.params["adapters"]
    merged = self.adapted.merged(variables["params"], adapters)
    return {**variables, "params": merged}

  def trained(
    self, params: PyTree, state: State, batch: Batch, keys: Array
  ) -> Found:
    """A forward pass of training: adapters apart, with dropout.

    Args:
      params: that the gradient is taken of.
      state: has the encoder.
      batch: with "image".
      keys: one for each image.
    """
    context: Any = contextlib.nullcontext()
    if self.adapted is not None:
      context = self.adapted.applied(params["adapters"], keys)
    with context:
      vectors = self.vectors(state.assets["encoder"], batch["image"])
    return self.judged(params, vectors)

  def forward(self, state: State, images: ArrayLike) -> Found:
    """A forward pass with merged adapters."""
    return self.judged(state.params, self.vectors(self.encoder(state), images))

  def embedding(
    self, params: PyTree, vectors: Float[ArrayLike, "b c"]
  ) -> Float[Array, "b d"]:
    """f, the projected vectors with length 1."""
    x = jnp.matmul(vectors, params["projection"]["kernel"], precision=_EXACT)
    squares = jnp.sum(x**2, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squares, _EPSILON))

  def judged(self, params: PyTree, vectors: Float[ArrayLike, "b c"]) -> Found:
    """What follows the encoder."""
    f = self.embedding(params, vectors)
    weight = params["classifier"]["kernel"][:, 0]
    if not self.count:
      logit = jnp.matmul(f, weight, precision=_EXACT)
      return Found(f, f, logit, None, None)
    prototypes = jax.lax.stop_gradient(bank.vectors(params))[:, 0, 0]
    weights, values = attention(params["attention"], f, prototypes, self.heads)
    out = params["attention"]["out"]
    mixed = jnp.einsum("bhn,hne->bhe", weights, values, precision=_EXACT)
    mixed = mixed.reshape(f.shape)
    mixed = (
      jnp.matmul(mixed, out["kernel"], precision=_EXACT) + out["bias"][None]
    )
    logit = jnp.matmul(mixed, weight, precision=_EXACT)
    # The classifier through the last layer, for each head's channels.
    back = jnp.matmul(out["kernel"], weight, precision=_EXACT)
    each = jnp.einsum(
      "hne,he->hn", values, back.reshape(self.heads, -1), precision=_EXACT
    )
    points = jnp.einsum("bhn,hn->bn", weights, each, precision=_EXACT)
    return Found(f, mixed, logit, jnp.mean(weights, axis=1), points)

  def answers(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Rows of `predict`.

    Returns:
      "logits" and "probabilities" [b 2] of real and generated; with prototypes
      "similarities", the attention, and "points", what each prototype adds to
      the logit of the answer, [b p].
    """
    found = self.forward(state, batch["image"])
    z = found.logit
    rows = {
      "logits": jnp.stack([jnp.zeros_like(z), z], axis=1),
      "probabilities": jnp.stack(
        [jax.nn.sigmoid(-z), jax.nn.sigmoid(z)], axis=1
      ),
    }
    if not self.count:
      return rows
    sign = jnp.where(z > 0, 1.0, -1.0)[:, None]
    return {
      **rows,
      "similarities": found.attention,
      "points": sign * found.points,
    }


def attention(
  params: PyTree,
  f: Float[ArrayLike, "b d"],
  prototypes: Float[ArrayLike, "n d"],
  heads: int,
) -> tuple[Float[Array, "b h n"], Float[Array, "h n e"]]:
  """Weights of the prototypes for each image and head, and their values.

  Keys and values are made once, not for each image.

  Args:
    params: "query", "key" and "value".
    f: queries.
    prototypes: keys and values.
    heads: h, which divides d.
  """

  def by_head(x: ArrayLike, name: str) -> Array:
    layer = params[name]
    made = jnp.matmul(x, layer["kernel"], precision=_EXACT)
    made = made + layer["bias"][None]
    return made.reshape(len(made), heads, -1)

  query, key, value = (
    by_head(x, name)
    for x, name in ((f, "query"), (prototypes, "key"), (prototypes, "value"))
  )
  scores = jnp.einsum("bhe,nhe->bhn", query, key, precision=_EXACT)
  weights = jax.nn.softmax(scores / query.shape[-1] ** 0.5, axis=-1)
  return weights, jnp.swapaxes(value, 0, 1)


def entropy(
  logit: Float[ArrayLike, " b"], labels: Int[ArrayLike, " b"]
) -> Float[Array, " b"]:
  """Binary cross entropy, - y log s(z) - (1 - y) log(1 - s(z))."""
  z, y = jnp.asarray(logit), jnp.asarray(labels)
  return jax.nn.softplus(z) - y * z


def _linear(key: Array, inputs: int, outputs: int) -> Float[Array, "i o"]:
  """Uniform with the bound 1 / sqrt(in), as PyTorch starts a linear layer."""
  bound = inputs**-0.5
  return jax.random.uniform(key, (inputs, outputs), minval=-bound, maxval=bound)


def _projected(key: Array, inputs: int, outputs: int) -> Float[Array, "i o"]:
  """Xavier's, as PyTorch starts queries, keys and values: one layer of 3 o."""
  bound = (6 / (inputs + 3 * outputs)) ** 0.5
  return jax.random.uniform(key, (inputs, outputs), minval=-bound, maxval=bound)


# Layers of the attention, and how their kernels start.
_ATTENTION = {
  "query": _projected,
  "key": _projected,
  "value": _projected,
  "out": _linear,
}
