"""The U-Net of Stable Diffusion 1.5 and 2.1: latents, time, text -> prediction.

A map goes down through levels of half the side each, and up again; on its way
up it meets what each block gave on the way down. The names of the levels are
`down_0` to `down_3`, `mid`, and `up_0` to `up_3`, from the coarsest on.

Captures: `apply(..., mutable=["keys", "text_attention"])` also returns the keys
of attention, or the weights of attention to words; `captured` puts those of
chosen levels in order.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from protojax.diffusion.positions import time_waves
from protojax.diffusion.stable.blocks import (
  Residual,
  Transformer,
  conv,
  group_norm,
)
from protojax.types import PyTree

CAPTURES = ("keys", "attention", "text_keys", "text_attention")


class UNet(nn.Module):
  """Predicts noise or v in noisy latent images.

  Attributes:
    channels: of the levels, from the finest.
    heads: of the attention of each level.
    attends: whether the blocks of a level have transformers.
    blocks: residual blocks of a level on the way down; one more up.
    latent: channels of a latent image.
    groups: of each GroupNorm.
    epsilon: of the residual blocks' norms.
    dtype: type of computation; the prediction is float32.
    remat: whether only what goes from block to block is kept for the gradient,
      which computes the rest again.
  """

  channels: Sequence[int] = (320, 640, 1280, 1280)
  heads: Sequence[int] = (8, 8, 8, 8)
  attends: Sequence[bool] = (True, True, True, False)
  blocks: int = 2
  latent: int = 4
  groups: int = 32
  epsilon: float = 1e-5
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b h w c"],
    t: Float[Array, " b"],
    text: Float[Array, "b l e"],
  ) -> Float[Array, "b h w c"]:
    """The prediction.

    Args:
      x: noisy latents, of any sides.
      t: times, of the order of 1000.
      text: states of the words of a text tower, with those of its padding.
    """
    first = self.channels[0]
    x, text = x.astype(self.dtype), text.astype(self.dtype)
    time = time_waves(t, first).astype(self.dtype)
    time = nn.Dense(4 * first, dtype=self.dtype, name="time_1")(time)
    time = nn.Dense(4 * first, dtype=self.dtype, name="time_2")(nn.silu(time))
    x = conv(first, "conv_in")(x)
    skips = [x]
    last = len(self.channels) - 1
    for i in range(last + 1):
      level = _Down(
        self.blocks,
        *self._parts(i),
        self.attends[i],
        i < last,
        name=f"down_{i}",
      )
      x, found = level(x, time, text)
      skips += found
    x = _Middle(*self._parts(last), name="mid")(x, time, text)
    for n in range(last + 1):
      i = last - n
      own = [skips.pop() for _ in range(self.blocks + 1)]
      level = _Up(*self._parts(i), self.attends[i], name=f"up_{n}")
      x = level(x, time, text, own)
      if skips:
        # The finer level's sides may be odd.
        _, h, w, _ = skips[-1].shape
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)[:, :h, :w]
        x = conv(x.shape[-1], f"upsample_{n}")(x)
    x = nn.silu(group_norm(x, "norm_out", self.groups, self.epsilon))
    return conv(self.latent, "conv_out")(x).astype(jnp.float32)

  def _parts(self, level):
    """What makes a level's residual blocks and transformers."""
    residual, transformer = Residual, Transformer
    if self.remat:
      residual, transformer = nn.remat(Residual), nn.remat(Transformer)
    return (
      functools.partial(
        residual, self.channels[level], self.groups, self.epsilon
      ),
      functools.partial(transformer, self.heads[level], self.groups),
    )


class _Down(nn.Module):
  """Blocks, and then half the side."""

  blocks: int
  residual: Callable[..., nn.Module]
  transformer: Callable[..., nn.Module]
  attends: bool
  smaller: bool

  @nn.compact
  def __call__(self, x, time, text):
    found = []
    for j in range(self.blocks):
      x = self.residual(name=f"resnet_{j}")(x, time)
      if self.attends:
        x = self.transformer(name=f"transformer_{j}")(x, text)
      found.append(x)
    if self.smaller:
      x = conv(x.shape[-1], "downsample", stride=2)(x)
      found.append(x)
    return x, found


class _Middle(nn.Module):
  """A residual block, a transformer, a residual block."""

  residual: Callable[..., nn.Module]
  transformer: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x, time, text):
    x = self.residual(name="resnet_0")(x, time)
    x = self.transformer(name="transformer_0")(x, text)
    return self.residual(name="resnet_1")(x, time)


class _Up(nn.Module):
  """Blocks, each of which also sees what one gave on the way down."""

  residual: Callable[..., nn.Module]
  transformer: Callable[..., nn.Module]
  attends: bool

  @nn.compact
  def __call__(self, x, time, text, skips):
    for j, skip in enumerate(skips):
      both = jnp.concatenate([x, skip], axis=-1)
      x = self.residual(name=f"resnet_{j}")(both, time)
      if self.attends:
        x = self.transformer(name=f"transformer_{j}")(x, text)
    return x


def blocks(module: UNet) -> tuple[str, ...]:
  """The names of the transformers, from the input to the output."""
  levels = list(enumerate(module.attends))
  names = [(f"down_{i}", module.blocks) for i, attends in levels if attends]
  names.append(("mid", 1))
  names += [
    (f"up_{n}", module.blocks + 1)
    for n, (_, attends) in enumerate(levels[::-1])
    if attends
  ]
  return tuple(
    f"{_foreign(level)}.attentions.{j}"
    for level, count in names
    for j in range(count)
  )


def depth(module: UNet, name: str) -> int:
  """How often the sides of a noisy image are halved before a transformer.

  Args:
    module: the U-Net.
    name: of `blocks(module)`.
  """
  way, _, number = _place(name)[0].partition("_")
  last = len(module.channels) - 1
  if way == "mid":
    return last
  return int(number) if way == "down" else last - int(number)


def _place(name: str) -> tuple[str, str]:
  """Level and transformer of a name."""
  level, _, number = name.partition(".attentions.")
  level = level.replace("_blocks.", "_").replace("_block", "")
  return level, f"transformer_{number}"


def _foreign(level: str) -> str:
  way, _, number = level.partition("_")
  return f"{way}_blocks.{number}" if number else f"{way}_block"


def captured(
  variables: Mapping[str, PyTree], names: Sequence[str]
) -> dict[str, Float[Array, "n b ..."]]:
  """What `apply` kept on request, by the name of the capture.

  Args:
    variables: the second of what `apply(..., mutable=...)` returns.
    names: of `blocks`, all of one grid.

  Returns:
    By name, stacked over these blocks: "keys" [b l c] and "text_keys" [b w c]
    with the heads side by side; "attention" [b l l] and "text_attention" [b l
    w], means over the heads that sum to 1 over the last axis.
  """
  found = {}
  for capture in CAPTURES:
    if capture not in variables:
      continue
    parts = []
    for name in names:
      level, transformer = _place(name)
      parts += jax.tree.leaves(variables[capture][level][transformer])
    found[capture] = jnp.stack(parts)
  return found
