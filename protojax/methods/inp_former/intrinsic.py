"""Intrinsic normal prototypes: found in an image, which is rebuilt from them.

The trained layers of INP-Former (2503.02424). `Extractor` finds prototypes of
an image in its tokens, which come from a frozen encoder. `Bottleneck` and
`Decoder` rebuild the tokens from these prototypes alone, so that anomalous
tokens are rebuilt badly. `anomaly_map` compares both.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int32

from protojax.prototypes.distance import PRECISION, direction
from protojax.types import ArrayLike, UserError

_ATTENTIONS = ("relu", "softmax", "self")

# The initialiser takes its bounds in units of 0.01: weights end at 0.03.
_WEIGHTS = nn.initializers.truncated_normal(0.01, lower=-3.0, upper=3.0)


class Extractor(nn.Module):
  """Gathers the tokens of an image into its prototypes (INP Extractor).

  T1 = T + CrossAttention(LN1(T), LN1(F)), P = T1 + MLP(LN2(T1)), by softmax
  over the tokens. The learned T, "tokens" [m d], starts standard normal and
  passes the same LN1 as the image's tokens F.

  Attributes:
    count: m, the number of prototypes.
    heads: of the attention; a divisor of d.
    static: the prototypes are T itself, alike for all images (ablation).
  """

  count: int
  heads: int
  static: bool = False

  @nn.compact
  def __call__(
    self, tokens: Float[ArrayLike, "b n d"]
  ) -> Float[jax.Array, "b m d"]:
    """Prototypes of each image.

    Raises:
      UserError: the heads do not divide the channels.
    """
    batch, _, channels = tokens.shape
    _require_divisor(self.heads, channels, "prototypes.heads")
    start = nn.initializers.normal(1.0)
    learned = self.param("tokens", start, (self.count, channels))
    spread = (batch, self.count, channels)
    if self.static:
      return jnp.broadcast_to(learned[None], spread)
    norm = _norm("norm1")
    query = _heads(_dense(channels, "q")(norm(learned)), self.heads)
    key, value = _keys_values(norm(tokens), self.heads)
    logits = jnp.einsum("mhc,bnhc->bhmn", query, key)
    weights = nn.softmax(logits * query.shape[-1] ** -0.5)
    self.sow("intermediates", "attention", weights)
    mixed = jnp.einsum("bhmn,bnhc->bmhc", weights, value)
    x = learned[None] + _dense(channels, "out")(mixed.reshape(spread))
    return x + _mlp(_norm("norm2")(x))


class Bottleneck(nn.Module):
  """Makes the input of the decoder: C -> 4 C -> C, with a GELU between."""

  @nn.compact
  def __call__(
    self, tokens: Float[ArrayLike, "b n d"]
  ) -> Float[jax.Array, "b n d"]:
    """F_B = MLP(F), token by token; no residual, no norm."""
    return _mlp(jnp.asarray(tokens))


class Decoder(nn.Module):
  """Rebuilds the tokens from those prototypes (INP-Guided Decoder).

  A block is x <- Attention(LN1(x), LN1(P)), x <- x + MLP(LN2(x)), without a
  residual around the attention. All blocks see the same P.

  Parameters of all blocks lie under "blocks", stacked on the first axis.
  Attention weights [l, b, h, n, m] are sown as "attention" into the collection
  "intermediates".

  Attributes:
    blocks: l, the number of blocks.
    heads: of the attention; a divisor of d.
    attention: "relu", the paper's, weighs prototype m by ReLU(s cos(q, k_m))
      with a learned scale s per head. Ablations: "softmax" over the prototypes
      of the same s cos(q, k_m), and "self", where keys and values come from
      the tokens and weights are softmax(q k / sqrt(c)), c = d / heads.
    residual: adds a residual around the attention (ablation).
  """

  blocks: int
  heads: int
  attention: str = "relu"
  residual: bool = False

  @nn.compact
  def __call__(
    self, x: Float[ArrayLike, "b n d"], prototypes: Float[ArrayLike, "b m d"]
  ) -> Float[jax.Array, "l b n d"]:
    """Outputs of all blocks, the first block's first.

    Raises:
      UserError: no such attention, or the heads do not divide the channels.
    """
    if self.attention not in _ATTENTIONS:
      raise UserError(
        f"attention {self.attention!r} is not known; choose one of"
        f" {', '.join(_ATTENTIONS)} with --config.decoder.attention."
      )
    _require_divisor(self.heads, x.shape[-1], "decoder.heads")
    # Matrix products are stored for the backward pass; the rest is computed
    # again.
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    blocks = nn.scan(
      nn.remat(_Block, prevent_cse=False, policy=policy),
      variable_axes={"params": 0, "intermediates": 0},
      split_rngs={"params": True},
      in_axes=nn.broadcast,
      length=self.blocks,
    )
    block = blocks(self.heads, self.attention, self.residual, name="blocks")
    _, outputs = block(jnp.asarray(x), jnp.asarray(prototypes))
    return outputs


class _Block(nn.Module):
  """One block; gives its output twice, to the next block and to the stack."""

  heads: int
  attention: str
  residual: bool

  @nn.compact
  def __call__(
    self, x: Float[jax.Array, "b n d"], prototypes: Float[jax.Array, "b m d"]
  ) -> tuple[Float[jax.Array, "b n d"], Float[jax.Array, "b n d"]]:
    channels = x.shape[-1]
    norm = _norm("norm1")
    normed = norm(x)
    seen = normed if self.attention == "self" else norm(prototypes)
    query = _heads(_dense(channels, "q")(normed), self.heads)
    key, value = _keys_values(seen, self.heads)
    weights = self._weights(query, key)
    self.sow("intermediates", "attention", weights)
    mixed = jnp.einsum("bhnm,bmhc->bnhc", weights, value)
    y = _dense(channels, "out")(mixed.reshape(x.shape))
    # Without the residual the output consists of the prototypes' values alone.
    x = x + y if self.residual else y
    x = x + _mlp(_norm("norm2")(x))
    return x, x

  def _weights(
    self,
    query: Float[jax.Array, "b n heads c"],
    key: Float[jax.Array, "b m heads c"],
  ) -> Float[jax.Array, "b heads n m"]:
    if self.attention == "self":
      logits = jnp.einsum("bnhc,bmhc->bhnm", query, key)
      return nn.softmax(logits * query.shape[-1] ** -0.5)
    scale = self.param("scale", nn.initializers.ones, (self.heads,))
    cosines = jnp.einsum("bnhc,bmhc->bhnm", direction(query), direction(key))
    logits = scale[None, :, None, None] * cosines
    return nn.relu(logits) if self.attention == "relu" else nn.softmax(logits)


def distance(
  tokens: Float[ArrayLike, "b n d"], prototypes: Float[ArrayLike, "b m d"]
) -> tuple[Float[jax.Array, "b n"], Int32[jax.Array, "b n"]]:
  """Cosine distance of every token to its nearest prototype, and its number.

  d_i = min over m of 1 - cos(F_i, P_m), in [0, 2]; 1 for a token of zeros.
  Of equally near prototypes the first counts.
  """
  cosines = jnp.einsum(
    "bnd,bmd->bnm",
    direction(jnp.asarray(tokens, jnp.float32)),
    direction(jnp.asarray(prototypes, jnp.float32)),
    precision=PRECISION,
  )
  # Clipped: rounding takes the cosine of a vector with itself above one.
  nearest = jnp.clip(1.0 - jnp.max(cosines, axis=-1), 0.0, 2.0)
  return nearest, jnp.argmax(cosines, axis=-1).astype(jnp.int32)


def group_encoded(
  levels: Float[ArrayLike, "l b n d"],
) -> Float[jax.Array, "g b n d"]:
  """Means of the shallow and of the deep half of the encoder's levels.

  Raises:
    UserError: the levels do not fall into two halves.
  """
  way_out = "name an even number of them in --config.encoder.levels"
  return _halves(levels, "levels of the encoder", way_out)


def group_decoded(
  decoded: Float[ArrayLike, "l b n d"],
) -> Float[jax.Array, "g b n d"]:
  """Means of the last and of the first half of the decoder's blocks.

  In reverse, since the last blocks rebuild the shallow levels, the first group
  of `group_encoded`.

  Raises:
    UserError: the blocks do not fall into two halves.
  """
  way_out = "set --config.decoder.blocks to an even number"
  return _halves(decoded[::-1], "blocks of the decoder", way_out)


def _dense(channels, name):
  return nn.Dense(channels, kernel_init=_WEIGHTS, name=name)


def _norm(name):
  # The fast variance, E[x²] - E[x]², is inexact for the small spread of tokens.
  return nn.LayerNorm(epsilon=1e-8, use_fast_variance=False, name=name)


def _mlp(x):
  """C -> 4 C -> C, by layers of the module that calls it."""
  hidden = nn.gelu(_dense(4 * x.shape[-1], "up")(x), approximate=False)
  return _dense(x.shape[-1], "down")(hidden)


def _keys_values(x, heads):
  key, value = jnp.split(_dense(2 * x.shape[-1], "kv")(x), 2, axis=-1)
  return _heads(key, heads), _heads(value, heads)


def _heads(x, heads):
  return x.reshape(*x.shape[:-1], heads, -1)


def _require_divisor(heads, channels, key):
  if heads < 1 or channels % heads:
    raise UserError(
      f"{heads} heads do not divide the {channels} channels of the tokens; set"
      f" --config.{key} to a divisor."
    )


def _halves(layers, what, way_out):
  count = len(layers)
  if not count or count % 2:
    raise UserError(f"{count} {what} do not fall into two halves; {way_out}.")
  layers = jnp.asarray(layers, jnp.float32)
  return jnp.mean(layers.reshape(2, count // 2, *layers.shape[1:]), axis=1)
