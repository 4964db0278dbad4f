"""Grouped double attention (GDAT): groups read instances, and are read by them.

For a bag of M instances and m groups, O(m M) in place of O(M^2). The instances
go through in chunks, with a softmax that is finished as the last one comes:
neither the scores [heads m M] nor the hidden layer of the MLP are ever held.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax.methods.comel import grouping
from protojax.methods.comel.grouping import Groups
from protojax.types import ArrayLike

_EPSILON = 1e-6  # of LayerNorm
_SHORTCUT = 0.1  # share of V that goes past the attention
_LOW = -1e30  # below all scores, and finite


class Dropout(NamedTuple):
  """Random zeros of training.

  Attributes:
    rate: share of the numbers that become 0; 0: none.
    key: of the randomness; None: none.
  """

  rate: float = 0.0
  key: jax.Array | None = None

  def __call__(self, x: jax.Array, number: Any) -> jax.Array:
    """Some numbers become 0, the others grow; `number` tells draws apart."""
    if self.key is None or not self.rate:
      return x
    key = jax.random.fold_in(self.key, number)
    kept = jax.random.bernoulli(key, 1 - self.rate, x.shape)
    return jnp.where(kept, x / (1 - self.rate), 0.0)


class Heads(NamedTuple):
  """The linear layers of attention: projections and how many heads there are.

  Attributes:
    qkv: queries, keys and values, side by side; no bias.
    count: number of heads.
  """

  qkv: Float[ArrayLike, "d e"]
  count: int

  def of(self, x: ArrayLike, which: int) -> Float[jax.Array, "n h e"]:
    """Queries (0), keys (1) or values (2) of some vectors [n d]."""
    x, kernel = jnp.asarray(x), jnp.asarray(self.qkv)
    width = kernel.shape[1] // 3
    made = x @ kernel[:, which * width : (which + 1) * width]
    return made.reshape(len(x), self.count, width // self.count)


def groups_read(
  queries: Float[ArrayLike, "m h e"],
  normed: Float[ArrayLike, "n d"],
  valid: Bool[ArrayLike, " n"],
  zeros: Float[ArrayLike, ""],
  heads: Heads,
  chunk: int,
) -> Float[jax.Array, "m h e"]:
  """V_G = softmax(Q_G K^T / sqrt e) V, chunk by chunk.

  Args:
    queries: of the groups.
    normed: instances, of which keys and values are made.
    valid: False for padding.
    zeros: how many vectors of zeros are among the keys.
    heads: the projections.
    chunk: instances at a time.
  """
  m, h, e = jnp.shape(queries)
  queries = jnp.asarray(queries) / e**0.5

  def read(carry: tuple, part: tuple) -> tuple[tuple, None]:
    (top, total, value), (x, real) = carry, part
    keys, values = heads.of(x, 1), heads.of(x, 2)
    scores = jnp.einsum("mhe,nhe->hmn", queries, keys)
    scores = jnp.where(real[None, None], scores, _LOW)
    # The result does not depend on it: no gradient has to go through.
    new = jax.lax.stop_gradient(jnp.maximum(top, jnp.max(scores, axis=-1)))
    weights = jnp.where(
      real[None, None], jnp.exp(scores - new[:, :, None]), 0.0
    )
    faded = jnp.exp(top - new)
    total = total * faded + jnp.sum(weights, axis=-1)
    read = jnp.einsum("hmn,nhe->hme", weights, values)
    return (new, total, value * faded[:, :, None] + read), None

  zeros = jnp.broadcast_to(jnp.asarray(zeros, jnp.float32), (h, m))
  begin = jnp.where(zeros > 0, 0.0, _LOW), zeros, jnp.zeros((h, m, e))
  (_, total, value), _ = _scanned(read, begin, (normed, valid), chunk)
  value = value / jnp.maximum(total, 1e-30)[:, :, None]
  return jnp.swapaxes(value, 0, 1)


def instances_read(
  queries: Float[ArrayLike, "n h e"],
  keys: Float[ArrayLike, "m h e"],
  values: Float[ArrayLike, "m h e"],
  there: Bool[ArrayLike, " m"],
) -> Float[jax.Array, "n h e"]:
  """O = softmax(Q K_G^T / sqrt e) V_G.

  Args:
    queries: of some instances.
    keys, values: of the groups.
    there: False for groups without an instance.
  """
  e = jnp.shape(queries)[-1]
  scores = jnp.einsum("nhe,mhe->hnm", queries, keys) / e**0.5
  scores = jnp.where(jnp.asarray(there)[None, None], scores, _LOW)
  return jnp.einsum("hnm,mhe->nhe", jax.nn.softmax(scores, axis=-1), values)


class Context(NamedTuple):
  """What the instances of a block see of their bag.

  Attributes:
    keys: of the groups.
    values: V_G.
    there: False for groups without an instance.
  """

  keys: Float[ArrayLike, "m h e"]
  values: Float[ArrayLike, "m h e"]
  there: Bool[ArrayLike, " m"]


def context(
  x: Float[ArrayLike, "n d"],
  valid: Bool[ArrayLike, " n"],
  groups: Groups,
  weights: Mapping[str, Any],
  heads: int,
  chunk: int,
) -> Context:
  """The groups of a bag, which have read its instances.

  Args:
    x: the instances.
    valid: False for padding.
    groups: of the instances.
    weights: of the block; see `through`.
    heads: of the attention.
    chunk: instances at a time.
  """
  made = Heads(weights["qkv"], heads)
  normed = layer_norm(x, weights["norm_1"])
  tokens = grouping.means(normed, valid, groups)
  queries = made.of(tokens, 0)
  values = groups_read(queries, normed, valid, groups.zeros, made, chunk)
  return Context(made.of(tokens, 1), values, jnp.asarray(groups.divisor) > 0)


def through(
  x: Float[ArrayLike, "n d"],
  seen: Context,
  weights: Mapping[str, Any],
  heads: int,
  chunk: int,
  dropout: Dropout,
) -> Float[jax.Array, "n d"]:
  """Instances after a pre-norm block: attention to the groups, then the MLP.

  Args:
    x: any instances; each goes through by itself.
    seen: of their bag.
    weights: "norm_1", "qkv", "proj", "norm_2", "fc_1" and "fc_2".
    heads: of the attention.
    chunk: instances at a time.
    dropout: after the projection and in the MLP.
  """
  made = Heads(weights["qkv"], heads)

  def rest(number: jax.Array, part: tuple) -> tuple[jax.Array, jax.Array]:
    (x,) = part
    normed = layer_norm(x, weights["norm_1"])
    read = instances_read(made.of(normed, 0), *seen)
    read = (read + _SHORTCUT * made.of(normed, 2)).reshape(x.shape)
    x = x + dropout(linear(read, weights["proj"]), 3 * number)
    hidden = linear(layer_norm(x, weights["norm_2"]), weights["fc_1"])
    hidden = dropout(jax.nn.gelu(hidden, approximate=False), 3 * number + 1)
    x = x + dropout(linear(hidden, weights["fc_2"]), 3 * number + 2)
    return number + 1, x

  _, found = _scanned(rest, jnp.int32(0), (jnp.asarray(x),), chunk)
  return found


def linear(x: jax.Array, layer: Mapping[str, Any]) -> jax.Array:
  """x W + b."""
  return x @ layer["kernel"] + layer["bias"][None]


def layer_norm(
  x: Float[ArrayLike, "n d"], layer: Mapping[str, Any]
) -> Float[jax.Array, "n d"]:
  """Each row with mean 0 and variance 1, then scaled and shifted."""
  x = jnp.asarray(x)
  mean = jnp.mean(x, axis=-1, keepdims=True)
  off = x - mean
  spread = jax.lax.rsqrt(jnp.mean(off**2, axis=-1, keepdims=True) + _EPSILON)
  return off * spread * layer["scale"][None] + layer["bias"][None]


def _scanned(
  step: Callable[[Any, tuple], tuple], carry: Any, rows: tuple, chunk: int
) -> tuple[Any, Any]:
  """`lax.scan` over chunks of rows; rows of the results are joined.

  A chunk's intermediate results are computed anew for the gradient.
  """
  count = len(rows[0])
  if count <= chunk:
    return step(carry, rows)
  short = -count % chunk

  def cut(x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    x = jnp.pad(x, [(0, short), *[(0, 0)] * (x.ndim - 1)])
    return x.reshape(-1, chunk, *x.shape[1:])

  carry, made = jax.lax.scan(
    jax.checkpoint(step), carry, jax.tree.map(cut, rows)
  )
  joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], made)
  return carry, joined
