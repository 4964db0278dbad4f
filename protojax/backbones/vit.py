"""Vision transformers of timm, DINOv2 and CLIP: image -> features.

Dosovitskiy et al. (2021). The patch tokens are the cells of the map. The class
token is sown as "class_token" [b, d], after the last norm. Position embeddings
are resampled to the grid of the image in the way of their weights. Pixels after
the last whole patch are ignored.
"""

import functools
import math
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
import numpy as np

from protojax.backbones.backbone import (
  IMAGENET_MEAN,
  IMAGENET_STD,
  Backbone,
  Layer,
  Level,
  recomputed,
)
from protojax.data.resizing import Preprocessing
from protojax.layers.conv import Conv
from protojax.layers.interpolation import cubic
from protojax.layers.norm import layer_norm
from protojax.layers.transformer import Block
from protojax.weights import clip
from protojax.weights.naming import Layout, Tensors, naming


class _Size(NamedTuple):
  channels: int
  blocks: int
  heads: int


class _Family(NamedTuple):
  """Settings that the networks of one publication share.

  Attributes:
    mean: of the pixels that the weights were trained on.
    std: of the same pixels.
    settings: of the module.
    preprocessing: see `Backbone`.
  """

  mean: tuple[float, float, float]
  std: tuple[float, float, float]
  settings: dict[str, Any]
  preprocessing: dict[str, Preprocessing]


_SIZES = {
  # To train from scratch, for small images.
  "mini": _Size(64, 3, 4),
  "small": _Size(384, 12, 6),
  "base": _Size(768, 12, 12),
  "large": _Size(1024, 24, 16),
}
# Steiner et al. (2022), and Dosovitskiy et al. (2021).
_AUGREG = (
  *("augreg_in1k", "augreg_in21k", "augreg_in21k_ft_in1k", "orig_in21k"),
  *("augreg2_in21k_ft_in1k", "orig_in21k_ft_in1k", "sam_in1k"),
)
# DINOv2's `interpolate_offset`, in its `hub/backbones.py`.
_OFFSET = 0.1
_DINOV2 = {
  "": Preprocessing(256, 224, "bicubic"),
  "lvd142m": Preprocessing(518, 518, "bicubic"),
}
_FAMILIES = {
  "vit": _Family(
    (0.5,) * 3,
    (0.5,) * 3,
    {},
    dict.fromkeys(("", *_AUGREG), Preprocessing(248, 224, "bicubic")),
  ),
  "vit_mini": _Family((0.5,) * 3, (0.25,) * 3, {}, {}),
  # Darcet et al. (2024), "Vision Transformers Need Registers".
  "dinov2": _Family(
    IMAGENET_MEAN, IMAGENET_STD, {"registers": 4, "layer_scale": True}, _DINOV2
  ),
  # Oquab et al. (2024), before there were registers.
  "dinov2_plain": _Family(
    IMAGENET_MEAN,
    IMAGENET_STD,
    {"layer_scale": True, "position_offset": _OFFSET},
    _DINOV2,
  ),
  # With registers, and resampled as if without: as INP-Former's code does.
  "dinov2_offset": _Family(
    IMAGENET_MEAN,
    IMAGENET_STD,
    {"registers": 4, "layer_scale": True, "position_offset": _OFFSET},
    _DINOV2,
  ),
  # Radford et al. (2021).
  "clip": _Family(
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
    {"clip": True},
    dict.fromkeys(("", "openai"), Preprocessing(224, 224, "bicubic")),
  ),
}
# Name -> (family, size, pixels of a patch, patches on a side in pretraining).
_NAMES = {
  "vit_mini_patch4": ("vit_mini", "mini", 4, 9),
  "vit_small_patch16": ("vit", "small", 16, 14),
  "vit_base_patch16": ("vit", "base", 16, 14),
  "vit_large_patch16": ("vit", "large", 16, 14),
  **{
    f"dinov2_{size}{suffix}": (f"dinov2{suffix}", size, 14, 37)
    for size in ("small", "base", "large")
    for suffix in ("", "_plain", "_offset")
  },
  "clip_base_patch32": ("clip", "base", 32, 7),
  "clip_base_patch16": ("clip", "base", 16, 14),
  "clip_large_patch14": ("clip", "large", 14, 16),
}
NAMES = tuple(_NAMES)

# Attention reads every cell of the map, as a kernel wider than any map.
_ATTENTION = Layer(4097)


def load(name: str) -> Backbone:
  """The transformer of that name, without pretrained weights."""
  family, size, patch, grid = _NAMES[name]
  mean, std, settings, preprocessing = _FAMILIES[family]
  channels, blocks, _ = _SIZES[size]
  return Backbone(
    module=ViT(*_SIZES[size], patch, grid, **settings),
    mean=mean,
    std=std,
    stride=patch,
    layers=(Layer(patch, patch, "VALID"), _ATTENTION),
    channels=channels,
    levels=tuple(
      Level(f"block_{i}", patch, channels) for i in range(1, blocks + 1)
    ),
    layouts=_LAYOUTS,
    preprocessing=preprocessing,
  )


class ViT(nn.Module):
  """Normalised images -> patch tokens after the last norm.

  Attributes:
    channels: d, of a token.
    blocks: number of blocks of attention and MLP.
    heads: of attention.
    patch: pixels on a side of a patch.
    grid: position embeddings on a side of their grid.
    registers: tokens beside class and patches, which are dropped at the end.
    layer_scale: whether attention and MLP are scaled by channel before they are
      added.
    clip: as CLIP: patches without bias, a norm before the blocks, GELU as
      x sigmoid(1.702 x).
    position_offset: see `resampled`.
    dtype: type of computation; parameters and features are float32.
    remat: whether the gradient computes blocks again.
  """

  channels: int
  blocks: int
  heads: int
  patch: int
  grid: int
  registers: int = 0
  layer_scale: bool = False
  clip: bool = False
  position_offset: float | None = None
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, images: Float[Array, "b H W 3"], train: bool = False
  ) -> Float[Array, "b h w d"]:
    """`train` changes nothing."""
    norm = functools.partial(layer_norm, epsilon=1e-5 if self.clip else 1e-6)
    block = recomputed(Block, self.remat)
    x = self._patches(images.astype(self.dtype))
    batch, h, w, d = x.shape
    others = self._other_tokens().astype(self.dtype)
    tokens = jnp.concatenate(
      [jnp.tile(others[None], (batch, 1, 1)), x.reshape(batch, h * w, d)], 1
    )
    if self.clip:
      tokens = norm(tokens, "pre_norm")
    for i in range(1, self.blocks + 1):
      layer = block(
        self.heads, self.layer_scale, self.clip, norm, name=f"layer_{i}"
      )
      tokens = layer(tokens, train)
      self.sow("intermediates", f"block_{i}", self._map(tokens, h, w))
    tokens = norm(tokens, "norm")
    self.sow("intermediates", "class_token", tokens[:, 0].astype(jnp.float32))
    return self._map(tokens, h, w)

  def _patches(self, images):
    """One token for each patch, with its position embedding."""
    side = self.patch
    conv = Conv(
      self.channels, side, side, "VALID", bias=not self.clip, name="patches"
    )
    x = conv(images)
    shape = (self.grid, self.grid, self.channels)
    position = self.param("position", nn.initializers.normal(0.02), shape)
    _, h, w, _ = x.shape
    position = resampled(position, (h, w), self.position_offset)
    return x + position.astype(x.dtype)[None]

  def _other_tokens(self):
    """The class token, which includes its position, and the registers."""
    normal = nn.initializers.normal(0.02)
    tokens = self.param("class_token", normal, (1, self.channels))
    if not self.registers:
      return tokens
    shape = (self.registers, self.channels)
    return jnp.concatenate([tokens, self.param("registers", normal, shape)])

  def _map(self, tokens, h, w):
    patches = tokens[:, 1 + self.registers :].astype(jnp.float32)
    return patches.reshape(-1, h, w, self.channels)


def resampled(
  position: Float[Array, "g g d"],
  grid: tuple[int, int],
  offset: float | None = None,
) -> Float[Array, "h w d"]:
  """Position embeddings on the grid of an image, by cubic interpolation.

  Args:
    position: on the grid of pretraining; on this grid they do not change.
    grid: rows and columns of patches.
    offset: None antialiases, as timm, and DINOv2 with registers. A number, 0.1
      for DINOv2 without registers, does not, and lets the points lie as if the
      image had so much of a patch more on each axis.
  """
  side = len(position)
  if grid == (side, side):
    return position
  if offset is None:
    return jax.image.resize(position, (*grid, position.shape[-1]), "cubic")
  rows, columns = (cubic(side, n, side / (n + offset)) for n in grid)
  return jnp.einsum(
    "hi,ijd,wj->hwd",
    rows,
    position,
    columns,
    precision=jax.lax.Precision.HIGHEST,
  )


def _with_positions(tensors: Tensors, token: str, position: str) -> Tensors:
  """Position embeddings as a grid; that of the class token is added to it.

  A file has them as [n, d] or [1, n, d]. The n embeddings are those of the
  cells, in some files after one of the class token.
  """
  found = dict(tensors)
  if token not in found or position not in found:
    return found
  own, positions = found[token], np.float32(found[position])
  channels = own.shape[-1:]
  # Else the file is of another network: `weights.convert` reports it.
  if channels == positions.shape[-1:] == (own.size,):
    positions = positions.reshape(-1, *channels)
    side = math.isqrt(len(positions))
    others, cells = positions[: -(side**2)], positions[-(side**2) :]
    found[token] = own.reshape(1, -1) + others.sum(0)
    found[position] = cells.reshape(side, side, -1)
  return found


def _timm(tensors: Tensors) -> Tensors:
  """timm's names; DINOv2's own differ only in that of the registers."""
  found = dict(_with_positions(tensors, "cls_token", "pos_embed"))
  for name in ("reg_token", "register_tokens"):
    if name in found:
      registers = found.pop(name)
      found["reg_token"] = registers[0] if registers.ndim == 3 else registers
  return found


def _openai(tensors: Tensors) -> Tensors:
  """The visual tower of CLIP, from a file with or without the text tower."""
  tensors = clip.openai_names(tensors)
  visual = {
    name.removeprefix("visual."): x
    for name, x in tensors.items()
    if name.startswith("visual.")
  }
  return _with_positions(
    visual or tensors, "class_embedding", "positional_embedding"
  )


_BLOCKS = range(1, max(size.blocks for size in _SIZES.values()) + 1)
_LAYOUTS = (
  Layout(
    "timm and DINOv2",
    naming(
      ("patches", "patch_embed.proj"),
      ("position", "pos_embed"),
      ("class_token", "cls_token"),
      ("registers", "reg_token"),
      ("pre_norm", "norm_pre"),
      *((f"layer_{i}", f"blocks.{i - 1}") for i in _BLOCKS),
      (r"norm_(\d)", r"norm\1"),
      ("qkv", "attn.qkv"),
      ("out", "attn.proj"),
      (r"gamma_(\d)", r"ls\1.gamma"),
      ("expand", "mlp.fc1"),
      ("project", "mlp.fc2"),
    ),
    ("head.", "mask_token"),
    _timm,
  ),
  Layout(
    "CLIP",
    naming(
      ("patches", "conv1"),
      ("position", "positional_embedding"),
      ("class_token", "class_embedding"),
      ("pre_norm", "ln_pre"),
      ("norm", "ln_post"),
      *((f"layer_{i}", f"transformer.resblocks.{i - 1}") for i in _BLOCKS),
      (r"norm_(\d)", r"ln_\1"),
      ("qkv/kernel", "attn.in_proj_weight"),
      ("qkv/bias", "attn.in_proj_bias"),
      ("out", "attn.out_proj"),
      ("expand", "mlp.c_fc"),
      ("project", "mlp.c_proj"),
    ),
    ("proj",),
    _openai,
  ),
)
