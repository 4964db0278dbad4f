"""Routing: which experts a token goes to, and with what gate.

Section 3 of ProMoE (2510.24711): tokens of a sample without its label go to the
unconditional expert, all others to the routed expert whose prototype has the
largest cosine with them. The routers that the paper compares with are here,
too.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.types import Array, ArrayLike

ROUTERS = ("prototypes", "linear", "kmeans", "classes")
CHOICES = ("token", "expert")
ACTIVATIONS = ("identity", "softmax", "sigmoid")
# Under the root of a squared norm: a token of zeros has a cosine of 0.
_EPSILON = 1e-24


@dataclasses.dataclass(frozen=True)
class Rule:
  """How tokens are routed.

  Attributes:
    experts: number of routed experts, N_E.
    router: what a token is compared with. "prototypes": by cosine with trained
      vectors. "linear": by a product with trained vectors. "kmeans": by cosine
      with means that `method` moves, with a gate of 1. "classes": nothing, the
      class of its sample chooses the expert, with a gate of 1.
    choice: a "token" chooses experts, or an "expert" chooses tokens of each
      sample.
    activation: similarity -> gate.
    top_k: experts of a token; of the choice by experts, their mean number.
    conditional: samples without a label have an expert of their own, the last.
    classes: number of classes.
  """

  experts: int
  router: str = "prototypes"
  choice: str = "token"
  activation: str = "identity"
  top_k: int = 1
  conditional: bool = True
  classes: int = 0

  @property
  def count(self) -> int:
    """All experts: the routed ones and the unconditional one."""
    return self.experts + self.conditional


class Routed(NamedTuple):
  """Assignments of tokens to experts, one in each row.

  Attributes:
    token: the token of each row, of b * l.
    expert: its expert; `Rule.count`: none, and the row is nothing.
    gate: factor of the expert's output.
    similarity: of each token to each routed expert, [b l e].
  """

  token: Int[Array, " a"]
  expert: Int[Array, " a"]
  gate: Float[Array, " a"]
  similarity: Float[Array, "b l e"]


def normalised(x: Float[ArrayLike, "... d"]) -> Float[Array, "... d"]:
  """Vectors of length 1; 0 stays 0, with a finite gradient."""
  x = jnp.asarray(x)
  square = jnp.sum(x**2, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(square, _EPSILON))


def product(
  hidden: Float[ArrayLike, "... d"], vectors: Float[ArrayLike, "e d"]
) -> Float[Array, "... e"]:
  """Products in float32, at the highest precision."""
  highest = jax.lax.Precision.HIGHEST
  return jnp.einsum("...d,ed->...e", hidden, vectors, precision=highest)


def super_class(
  label: Int[ArrayLike, " b"], classes: int, experts: int
) -> Int[Array, " b"]:
  """The expert of each class: classes in their order, in equal groups."""
  return jnp.asarray(label) * experts // max(classes, 1)


def similarities(
  rule: Rule,
  hidden: Float[ArrayLike, "b l d"],
  vectors: Float[ArrayLike, "e d"],
  label: Int[ArrayLike, " b"],
) -> Float[Array, "b l e"]:
  """What the routed experts are chosen by: z = cos(h, p) for prototypes."""
  if rule.router == "linear":
    return product(hidden, vectors)
  if rule.router == "classes":
    expert = super_class(label, rule.classes, rule.experts)
    one = jax.nn.one_hot(expert, rule.experts)
    return jnp.broadcast_to(
      one[:, None], (*jnp.shape(hidden)[:2], rule.experts)
    )
  return product(normalised(hidden), normalised(vectors))


def _gates(rule: Rule, similarity: Array) -> Array:
  if rule.router in ("kmeans", "classes"):
    return jnp.ones_like(similarity)
  if rule.activation == "softmax":
    return jax.nn.softmax(similarity, axis=-1)
  if rule.activation == "sigmoid":
    return jax.nn.sigmoid(similarity)
  return similarity


def route(
  rule: Rule,
  hidden: Float[ArrayLike, "b l d"],
  vectors: Float[ArrayLike, "e d"],
  null: Bool[ArrayLike, " b"],
  label: Int[ArrayLike, " b"],
) -> Routed:
  """Assigns the tokens of a batch (Algorithm 1).

  Args:
    rule: how.
    hidden: the tokens, in float32.
    vectors: prototypes, or the rows of a linear router.
    null: samples without a label.
    label: classes; only the router "classes" reads them.
  """
  similarity = similarities(rule, hidden, vectors, label)
  gates = _gates(rule, similarity)
  null = jnp.asarray(null) & rule.conditional
  choose = _by_token if rule.choice == "token" else _by_expert
  return choose(rule, similarity, gates, null)


def _by_token(rule: Rule, similarity, gates, null) -> Routed:
  if rule.top_k == 1:  # Several times as fast on CPU.
    expert = jnp.argmax(similarity, axis=-1)[..., None]
  else:
    expert = jax.lax.top_k(similarity, rule.top_k)[1]
  gate = jnp.take_along_axis(gates, expert, axis=-1)
  token = jnp.arange(expert.shape[0] * expert.shape[1])
  null = null[:, None, None]
  # Of a null token, the first row alone is something.
  first = jnp.arange(rule.top_k)[None, None] == 0
  of_null = jnp.where(first, rule.experts, rule.count)
  expert = jnp.where(null, of_null, expert)
  gate = jnp.where(null, 1.0, gate)
  return Routed(
    jnp.repeat(token, rule.top_k), expert.ravel(), gate.ravel(), similarity
  )


def picked(tokens: int, rule: Rule) -> int:
  """Tokens of a sample that an expert picks: floor(S / N_E K), at least 1."""
  return max(1, min(int(tokens / rule.experts * rule.top_k), tokens))


def _by_expert(rule: Rule, similarity, gates, null) -> Routed:
  b, tokens, e = similarity.shape
  k = picked(tokens, rule)
  chosen = jax.lax.top_k(jnp.swapaxes(gates, 1, 2), k)[1]  # b e k
  gate = jnp.take_along_axis(jnp.swapaxes(gates, 1, 2), chosen, axis=-1)
  expert = jnp.broadcast_to(jnp.arange(e)[None, :, None], chosen.shape)
  token, expert, gate = (x.reshape(b, -1) for x in (chosen, expert, gate))
  if rule.conditional:
    # A null sample has a row for each token where others have their picks.
    missing = [(0, 0), (0, max(0, tokens - e * k))]
    token, gate = (jnp.pad(x, missing) for x in (token, gate))
    expert = jnp.pad(expert, missing, constant_values=rule.count)
    row = jnp.arange(token.shape[1])[None]
    own = jnp.where(row < tokens, rule.experts, rule.count)
    null = null[:, None]
    token = jnp.where(null, jnp.minimum(row, tokens - 1), token)
    expert = jnp.where(null, own, expert)
    gate = jnp.where(null, 1.0, gate)
  token = token + tokens * jnp.arange(b)[:, None]
  return Routed(token.ravel(), expert.ravel(), gate.ravel(), similarity)
