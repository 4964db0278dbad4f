"""The diffusion transformer: noisy image, time, condition -> prediction.

Peebles & Xie (2023), DiT with adaLN-Zero; PixArt's attention to text (Chen et
al., 2024) where there is a text. Blocks lie in groups of equal make, whose
parameters are stacked and applied by one `scan`, so that the time to compile
does not grow with the depth. What stands in place of a block's MLP is given to
the network: a method puts its own layers there.

Captures: `apply(..., mutable=["tokens"])` also returns the tokens after each
block; "keys" and "attention" are those of attention, "text_keys" and
"text_attention" those of the attention to text. `captured` puts them in order.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from protojax.diffusion.positions import grid_positions, time_waves
from protojax.layers.attention import Attention
from protojax.layers.conv import Conv
from protojax.types import PyTree

_XAVIER = nn.initializers.xavier_uniform()
_ZEROS = nn.initializers.zeros
_NORMAL = nn.initializers.normal(0.02)
# Letter -> channels, depth, heads: table 1 of the paper.
SIZES = {
  "S": (384, 12, 6),
  "B": (768, 12, 12),
  "L": (1024, 24, 16),
  "XL": (1152, 28, 16),
}
CAPTURES = ("tokens", "keys", "attention", "text_keys", "text_attention")


class Text(NamedTuple):
  """Words to draw by.

  Attributes:
    tokens: from a text tower.
    valid: False for padding; each text has a token.
  """

  tokens: Float[Array, "b w c"]
  valid: Bool[Array, "b w"]


class FeedForward(nn.Module):
  """The MLP of a dense block: two layers with GELU (by tanh) between.

  Attributes:
    ratio: hidden channels / channels.
    dtype: type of computation; parameters are float32.
  """

  ratio: float = 4.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    hidden: Float[Array, "b l d"],
    null: Bool[Array, " b"],
    label: Int[Array, " b"],
  ) -> tuple[Float[Array, "b l d"], dict]:
    """`null` and `label` change nothing; there is no evidence."""
    del null, label
    channels = hidden.shape[-1]
    y = _dense(int(self.ratio * channels), "expand", self.dtype)(hidden)
    y = nn.gelu(y, approximate=True)
    return _dense(channels, "project", self.dtype)(y), {}


class DiT(nn.Module):
  """Predicts the noise or the velocity in noisy images.

  Attributes:
    channels: d, of a token; a multiple of 4 and of the heads.
    depth: number of blocks, a multiple of the blocks of a group.
    heads: of attention.
    patch: pixels (or cells of a latent image) on a side of a token.
    classes: k; the label k means: no condition.
    text: whether blocks also look at a text.
    learn_sigma: whether there are twice as many channels as of the image.
    qk_norm: see `Attention`.
    mlp_ratio: of the dense block, where `feed_forwards` is empty.
    feed_forwards: what makes the feed-forward of each block of a group; empty:
      one `FeedForward`. A made module is called with hidden tokens [b l d] in
      float32, whether each example is without a condition [b], and the labels
      [b], and returns its output [b l d] and evidence: a tree of arrays.
    dtype: type of computation. Parameters, norms, the tokens that blocks add
      to, and the output are float32.
    remat: whether a group keeps the products with its weights alone for the
      gradient, which computes the rest again, attention too: a third of the
      memory for 3 % more products.
    unroll: groups in a turn of the loop. On CPU a step of four blocks of 64
      channels takes 1.5 times as long with 1 as with 4, and one of eight blocks
      of 192 as long; with more the program takes longer to compile.
    refine: channels of each pixel that the tokens are turned into, from which,
      and from the noisy image, two convolutions make the output; 0: none, the
      tokens are turned into the output. Ours: a large patch of few channels
      cannot say where an outline runs.
  """

  channels: int
  depth: int
  heads: int
  patch: int = 2
  classes: int = 1000
  text: bool = False
  learn_sigma: bool = True
  qk_norm: bool = False
  mlp_ratio: float = 4.0
  feed_forwards: Sequence[Callable[[], nn.Module]] = ()
  dtype: Any = jnp.float32
  remat: bool = False
  unroll: int = 1
  refine: int = 0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    label: Int[Array, " b"],
    text: Text | None = None,
  ) -> tuple[Float[Array, "b h w c_out"], PyTree]:
    """The prediction, and the evidence of the feed-forwards.

    Args:
      x: noisy images; their sides must be multiples of the patch.
      t: times of the order of 1000, which need not be whole.
      label: classes; k: none.
      text: what the images show, if the network reads a text.

    Returns:
      The prediction, and a tuple with an entry for each block of a group: its
      evidence, stacked over the groups.

    Raises:
      ValueError: sizes do not divide, or a text is missing or too much.
    """
    self._check(x, text)
    _, h, w, image_channels = x.shape
    rows, columns = h // self.patch, w // self.patch
    tokens = _patches(x, self.patch)
    tokens = _dense(self.channels, "patches", self.dtype)(tokens)
    positions = grid_positions(rows, columns, self.channels)
    tokens = tokens.astype(jnp.float32) + jnp.asarray(positions)[None]
    condition = self._condition(t, label)
    null = label == self.classes
    tokens, evidence = self._groups()(tokens, condition, null, label, text)
    out_channels = image_channels * (2 if self.learn_sigma else 1)
    shift, scale = _Modulation(2, self.dtype, name="modulation")(condition)
    y = _modulated(tokens, shift, scale)
    start = _XAVIER if self.refine else _ZEROS
    width = self.refine or out_channels
    y = _dense(self.patch**2 * width, "final", self.dtype, start)(y)
    y = _unpatched(y.astype(jnp.float32), rows, columns, self.patch)
    if self.refine:
      y = self._refined(y, x, out_channels)
    return y, evidence

  def _refined(self, y, x, channels):
    """Pixels from what tokens say of each of them, and the noisy image."""
    y = jnp.concatenate([y, x], axis=-1).astype(self.dtype)
    y = nn.gelu(Conv(self.refine, 3, bias=True, name="refine_1")(y))
    y = Conv(channels, 3, bias=True, start=_ZEROS, name="refine_2")(y)
    return y.astype(jnp.float32)

  def _check(self, x, text):
    if x.shape[1] % self.patch or x.shape[2] % self.patch:
      raise ValueError(
        f"images of {x.shape[1]} x {x.shape[2]} do not divide into patches of"
        f" {self.patch}"
      )
    if self.depth % len(self._feed_forwards()):
      raise ValueError(
        f"{self.depth} blocks do not divide into groups of"
        f" {len(self.feed_forwards)}"
      )
    if self.text != (text is not None):
      raise ValueError(
        "the network reads a text: give one"
        if self.text
        else "the network reads no text: set text=True, or give none"
      )

  def _feed_forwards(self):
    dense = functools.partial(FeedForward, self.mlp_ratio, self.dtype)
    return tuple(self.feed_forwards) or (dense,)

  def _condition(self, t, label):
    """One vector for each example, from its time and its label, float32."""
    waves = _dense(self.channels, "time_1", self.dtype, _NORMAL)(time_waves(t))
    time = _dense(self.channels, "time_2", self.dtype, _NORMAL)(nn.silu(waves))
    table = nn.Embed(
      self.classes + 1, self.channels, embedding_init=_NORMAL, name="labels"
    )
    return time.astype(jnp.float32) + table(label)

  def _groups(self):
    feed_forwards = self._feed_forwards()
    group = _Group
    if self.remat:
      kept = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
      # Inside of a scan nothing can be merged that remat keeps apart.
      group = nn.remat(group, prevent_cse=False, policy=kept)
    scanned = nn.scan(
      group,
      variable_axes={True: 0},
      split_rngs={True: True},
      in_axes=nn.broadcast,
      length=self.depth // len(feed_forwards),
      unroll=self.unroll,
    )
    return scanned(
      feed_forwards, self.heads, self.qk_norm, self.dtype, name="groups"
    )


class _Group(nn.Module):
  """Blocks one after the other."""

  feed_forwards: Sequence[Callable[[], nn.Module]]
  heads: int
  qk_norm: bool
  dtype: Any

  @nn.compact
  def __call__(self, tokens, condition, null, label, text):
    found = []
    for i, make in enumerate(self.feed_forwards):
      block = _Block(
        make,
        self.heads,
        self.qk_norm,
        self.dtype,
        text is not None,
        name=f"block_{i}",
      )
      tokens, evidence = block(tokens, condition, null, label, text)
      found.append(evidence)
    return tokens, tuple(found)


class _Block(nn.Module):
  """Attention and feed-forward, each shifted, scaled and gated (adaLN-Zero)."""

  make: Callable[[], nn.Module]
  heads: int
  qk_norm: bool
  dtype: Any
  reads: bool

  def setup(self):
    self.modulation = _Modulation(6, self.dtype)
    self.attention = Attention(self.heads, self.qk_norm, dtype=self.dtype)
    self.feed_forward = self.make()
    if self.reads:
      self.text_attention = Attention(
        self.heads,
        self.qk_norm,
        zero=True,
        others=True,
        kept=("text_keys", "text_attention"),
        dtype=self.dtype,
      )

  def __call__(self, tokens, condition, null, label, text):
    shift, scale, gate, *of_feed_forward = self.modulation(condition)
    y = self.attention(_modulated(tokens, shift, scale))
    tokens = tokens + gate * y.astype(jnp.float32)
    if text is not None:
      y = self.text_attention(tokens, text.tokens, text.valid)
      tokens = tokens + y.astype(jnp.float32)
    shift, scale, gate = of_feed_forward
    hidden = _modulated(tokens, shift, scale)
    y, evidence = self.feed_forward(hidden, null, label)
    tokens = tokens + gate * y.astype(jnp.float32)
    if not self.is_initializing():
      self.sow("tokens", "kept", tokens)
    return tokens, evidence


class _Modulation(nn.Module):
  """Vectors [b 1 d] that a condition gives, zero at the start."""

  parts: int
  dtype: Any

  @nn.compact
  def __call__(self, condition):
    width = self.parts * condition.shape[-1]
    y = _dense(width, "dense", self.dtype, _ZEROS)(nn.silu(condition))
    return jnp.split(y.astype(jnp.float32)[:, None], self.parts, axis=-1)


def size(name: str, **fields: Any) -> DiT:
  """The transformer of table 1 of that name: S, B, L or XL, with other fields.

  Raises:
    ValueError: there is no such size.
  """
  if name not in SIZES:
    raise ValueError(f"no size {name!r}: take one of {', '.join(SIZES)}")
  channels, depth, heads = SIZES[name]
  return DiT(channels, depth, heads, **fields)


def captured(
  variables: Mapping[str, PyTree], blocks: Sequence[int] | None = None
) -> dict[str, Float[Array, "n b ..."]]:
  """What `apply` kept on request, by the name of the capture.

  Args:
    variables: the second of what `apply(..., mutable=names)` returns.
    blocks: numbers of blocks, from 0; None: all.

  Returns:
    By name, of each of those blocks: "tokens" after it [b l d]; "keys" [b l d]
    and "text_keys" [b w d] with the heads side by side; "attention" [b l l] and
    "text_attention" [b l w], means over the heads that sum to 1 over the last
    axis.
  """
  found = {}
  for name in CAPTURES:
    # By block of a group, each stacked over the groups.
    parts = jax.tree.leaves(variables.get(name, {}))
    if parts:
      every = jnp.stack(parts, axis=1)
      every = every.reshape(-1, *every.shape[2:])
      found[name] = every if blocks is None else every[jnp.asarray(blocks)]
  return found


def _dense(channels, name, dtype, start=_XAVIER):
  return nn.Dense(channels, dtype=dtype, kernel_init=start, name=name)


def _modulated(tokens, shift, scale):
  """LayerNorm without weights, then (1 + scale) and shift by example."""
  centred = tokens - jnp.mean(tokens, axis=-1, keepdims=True)
  variance = jnp.mean(centred**2, axis=-1, keepdims=True)
  return centred * jax.lax.rsqrt(variance + 1e-6) * (1 + scale) + shift


def _patches(x, side):
  """Squares of an image as rows: [b l side*side*c], row by row."""
  batch, h, w, channels = x.shape
  x = x.reshape(batch, h // side, side, w // side, side, channels)
  return jnp.moveaxis(x, 2, 3).reshape(batch, -1, side**2 * channels)


def _unpatched(rows, h, w, side):
  """The inverse of `_patches`."""
  x = rows.reshape(len(rows), h, w, side, side, -1)
  return jnp.moveaxis(x, 3, 2).reshape(len(rows), h * side, w * side, -1)
