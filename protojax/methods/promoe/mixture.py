"""The feed-forward block of ProMoE: routed, unconditional and shared experts.

MoE(h) = E_shared(h) + sum_j G_j E_j(h) for a sample with a label, and
E_shared(h) + E_unconditional(h) without one (2510.24711, section 3).
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.methods.promoe import experts, losses, routing
from protojax.methods.promoe.buckets import buckets
from protojax.methods.promoe.experts import Experts
from protojax.methods.promoe.routing import Routed, Rule
from protojax.types import Array, ArrayLike

_HIGHEST = jax.lax.Precision.HIGHEST
_LOCAL = {
  "buckets": buckets,
  "ragged": experts.ragged,
  "dense_all": experts.dense_all,
}
# Leaf -> axis of the experts, in layers that a scan stacks; the rest of the
# network is the same on all devices.
SHARDING = {"up": 1, "up_bias": 1, "down": 1, "down_bias": 1}


class Mixture(nn.Module):
  """A mixture of experts in place of an MLP.

  Attributes:
    rule: how tokens are routed.
    width: units inside of a routed or unconditional expert.
    shared: units inside of the shared expert; 0: there is none.
    temperature: of the contrastive loss, where experts choose.
    strategy: how experts are applied, one of `experts.STRATEGIES`.
    factor: room of an expert under "capacity"; see `experts.capacity`.
    shards: devices that the experts are spread over.
    dtype: of the products with the experts' weights; routing and the sum over
      the experts are in float32.
  """

  rule: Rule
  width: int
  shared: int = 0
  temperature: float = 0.07
  strategy: str = "buckets"
  factor: float = 2.0
  shards: int = 1
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self,
    hidden: Float[ArrayLike, "b l d"],
    null: Bool[ArrayLike, " b"],
    label: Int[ArrayLike, " b"],
  ) -> tuple[Float[Array, "b l d"], dict[str, Any]]:
    """Outputs, and what the losses and explanations read.

    Args:
      hidden: tokens, normalised and modulated.
      null: samples without a label.
      label: classes.

    Returns:
      The outputs, and the evidence of `_evidence`.
    """
    vectors = self.param(
      "prototypes",
      nn.initializers.normal(0.02),
      (self.rule.experts, jnp.shape(hidden)[-1]),
    )
    if self.rule.router == "kmeans":
      vectors = jax.lax.stop_gradient(vectors)
    tokens = jnp.asarray(hidden, jnp.float32)
    routed = routing.route(self.rule, tokens, vectors, null, label)
    weights = self._weights(tokens.shape[-1])
    rows = jnp.asarray(hidden, self.dtype).reshape(-1, tokens.shape[-1])
    made, dropped = self._applied(weights, rows, routed)
    made = made.astype(jnp.float32) * routed.gate[:, None]
    if self.rule.choice == "token":
      out = jnp.sum(made.reshape(len(rows), self.rule.top_k, -1), axis=1)
    else:
      out = jax.ops.segment_sum(made, routed.token, len(rows))
    if self.shared:
      out = out + self._shared(jnp.asarray(hidden)).reshape(out.shape)
    evidence = self._evidence(vectors, tokens, null, routed)
    out = out.reshape(tokens.shape).astype(jnp.asarray(hidden).dtype)
    return out, {**evidence, "dropped": dropped}

  def _shared(self, hidden: Array) -> Array:
    def dense(features: int, name: str) -> nn.Dense:
      glorot = nn.initializers.xavier_uniform()
      return nn.Dense(features, dtype=self.dtype, kernel_init=glorot, name=name)

    inner = dense(self.shared, "shared_up")(hidden)
    outer = dense(hidden.shape[-1], "shared_down")(experts.gelu(inner))
    return outer.astype(jnp.float32)

  def _weights(self, d: int) -> Experts:
    e, f = self.rule.count // self.shards, self.width
    glorot = nn.initializers.xavier_uniform(batch_axis=(0,))
    zeros = nn.initializers.zeros
    found = Experts(
      self.param("up", glorot, (e, d, f)),
      self.param("up_bias", zeros, (e, f)),
      self.param("down", glorot, (e, f, d)),
      self.param("down_bias", zeros, (e, d)),
    )
    return jax.tree.map(lambda x: jnp.asarray(x, self.dtype), found)

  def _applied(
    self, weights: Experts, rows: Array, routed: Routed
  ) -> tuple[Array, Array]:
    same = self.rule.choice == "token" and self.rule.top_k == 1
    rows = rows if same else rows[routed.token]
    if self.strategy == "capacity":
      return experts.capacity(
        weights, rows, routed.expert, self.rule.count, self.factor
      )
    made = _LOCAL[self.strategy](weights, rows, routed.expert)
    return made, jnp.zeros((), jnp.int32)

  def _evidence(
    self, vectors: Array, tokens: Array, null: ArrayLike, routed: Routed
  ) -> dict[str, Array]:
    """What a layer tells about its routing.

    Returns:
      "tokens" [b l d]; their "similarity" [b l e] to each routed expert;
      "gates" [b l e'], of all experts, 0 where one has not the token, and
      "chosen" [b l e'], whether it has; over tokens with a label, for each
      routed expert the "sums" [e d] of its tokens, their "counts" [e], and the
      summed softmax of the similarities "probabilities" [e]; "contrast" [2]:
      where experts choose, the summed contrastive loss of the samples and their
      number.
    """
    rule = self.rule
    gates, chosen = self._of_tokens(tokens.shape[:2], routed)
    own = chosen[..., : rule.experts]
    labelled = ~(jnp.asarray(null) & rule.conditional)
    likely = jax.nn.softmax(routed.similarity, axis=-1)
    likely = jnp.where(labelled[:, None, None], likely, 0.0)
    contrast = jnp.zeros(2)
    if rule.choice == "expert":
      sums = jnp.einsum("ble,bld->bed", own, tokens, precision=_HIGHEST)
      counts = jnp.sum(own, axis=1)
      contrast = self._contrast(vectors, sums, counts, labelled)
    return {
      "tokens": tokens,
      "similarity": routed.similarity,
      "gates": gates,
      "chosen": chosen > 0,
      "sums": jnp.einsum("ble,bld->ed", own, tokens, precision=_HIGHEST),
      "counts": jnp.sum(own, axis=(0, 1)),
      "probabilities": jnp.sum(likely, axis=(0, 1)),
      "contrast": contrast,
    }

  def _of_tokens(
    self, shape: tuple[int, ...], routed: Routed
  ) -> tuple[Array, Array]:
    """The gate of every expert, and whether it has the token: [b l e']."""
    count = self.rule.count
    if self.rule.choice == "token":
      one = jax.nn.one_hot(routed.expert, count)
      one = one.reshape(*shape, self.rule.top_k, count)
      gate = routed.gate.reshape(*shape, self.rule.top_k, 1)
      return jnp.sum(one * gate, axis=2), jnp.sum(one, axis=2)
    flat = jnp.zeros((shape[0] * shape[1], count))
    at = routed.token, routed.expert
    gates = flat.at[at].add(routed.gate, mode="drop")
    chosen = flat.at[at].set(1.0, mode="drop")
    return gates.reshape(*shape, count), chosen.reshape(*shape, count)

  def _contrast(self, vectors, sums, counts, labelled) -> Array:
    def of_sample(sums, counts):
      found, present = losses.means(sums, counts)
      return losses.routing_contrastive(
        vectors, found, present, self.temperature
      )

    each = jax.vmap(of_sample)(sums, counts)
    total = jnp.sum(jnp.where(labelled, each, 0.0))
    return jnp.stack([total, jnp.sum(labelled, dtype=jnp.float32)])
