"""Reads a U-Net of Stable Diffusion from a part of a user's folder.

config.json says what the tensors do not; a setting that would change the
network in a way that is not known here is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from protojax import json_files
from protojax.diffusion.stable.unet import UNet
from protojax.types import PyTree, UserError
from protojax.weights import components
from protojax.weights.naming import Layout, Tensors, convert, naming

NAME = "diffusion_pytorch_model"
_DOWN = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}
# Settings that must have this value, which they have if they are not there.
_PLAIN = {
  "act_fn": "silu",
  "attention_type": "default",
  "conv_in_kernel": 3,
  "conv_out_kernel": 3,
  "downsample_padding": 1,
  "flip_sin_to_cos": True,
  "mid_block_scale_factor": 1,
  "mid_block_type": "UNetMidBlock2DCrossAttn",
  "resnet_out_scale_factor": 1,
  "resnet_time_scale_shift": "default",
  "time_embedding_type": "positional",
  "transformer_layers_per_block": 1,
}
# Settings that are read, and those that change no number here: attention adds
# up in float32 anyway, and a convolution of one cell is a linear layer.
_READ = (
  "in_channels",
  "out_channels",
  "block_out_channels",
  "layers_per_block",
  "attention_head_dim",
  "num_attention_heads",
  "cross_attention_dim",
  "norm_num_groups",
  "norm_eps",
  "down_block_types",
  "up_block_types",
  "addition_embed_type_num_heads",
  "sample_size",
  "use_linear_projection",
  "upcast_attention",
)


def read(
  folder: str | Path, dtype: type = jnp.float32, remat: bool = False
) -> tuple[UNet, PyTree, int]:
  """The U-Net of a folder, its variables as NumPy, and the channels of a text.

  Args:
    folder: with config.json and the weights; see `components`.
    dtype: type of computation, and of the variables.
    remat: see `UNet`.

  Raises:
    UserError: a file cannot be read; or lists the settings that are not known,
      or the tensors that are missing, superfluous or misshapen.
  """
  folder = Path(folder)
  config = json_files.read_json(folder / "config.json", dict[str, Any])
  module, text = made(config, folder / "config.json", dtype, remat)
  path = components.find(folder, NAME)
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes(module, text)
  )
  try:
    return module, convert(components.read(path), template, (LAYOUT,)), text
  except UserError as error:
    raise UserError(f"{path}: {error}") from error


def shapes(module: UNet, text: int) -> PyTree:
  """Shapes of the variables; computes nothing.

  Args:
    module: the U-Net.
    text: channels of the states of words.
  """
  side = 2 ** len(module.channels)
  return jax.eval_shape(
    module.init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, side, side, module.latent), jnp.float32),
    jax.ShapeDtypeStruct((1,), jnp.float32),
    jax.ShapeDtypeStruct((1, 2, text), jnp.float32),
  )


def made(
  config: Mapping[str, Any],
  path: str | Path,
  dtype: type = jnp.float32,
  remat: bool = False,
) -> tuple[UNet, int]:
  """The U-Net of a config, and the channels of the states of words.

  Raises:
    UserError: lists the settings that are not known; `path` begins it.
  """
  wrong = _unknown(config)
  channels = _whole_numbers(config, "block_out_channels", wrong)
  heads_key = "attention_head_dim"  # which holds their number
  if config.get("num_attention_heads") is not None:
    heads_key = "num_attention_heads"
  heads = _whole_numbers(config, heads_key, wrong, len(channels))
  blocks, latent, text, groups = (
    (_whole_numbers(config, key, wrong, 1) or [1])[0]
    for key in (
      "layers_per_block",
      "out_channels",
      "cross_attention_dim",
      "norm_num_groups",
    )
  )
  down = _attends(config, "down_block_types", _DOWN, wrong)
  up = _attends(config, "up_block_types", _UP, wrong)
  if config.get("in_channels") != latent:
    wrong.append(
      f"in_channels={config.get('in_channels')} where out_channels={latent}:"
      " models that see more than the noisy image are not read"
    )
  if not len(channels) == len(heads) == len(down) or up != down[::-1]:
    wrong.append("levels up that are not those down")
  epsilon = config.get("norm_eps", 1e-5)
  if not isinstance(epsilon, int | float):
    wrong.append(f"norm_eps={epsilon!s:.60}")
  if not wrong:
    for c, h in zip(channels, heads, strict=True):
      if c % h or c % groups:
        wrong.append(f"{c} channels, {h} heads and {groups} groups")
  if wrong:
    raise UserError(
      f"{path} is not of Stable Diffusion 1.x or 2.x: it has {'; '.join(wrong)}"
    )
  module = UNet(
    tuple(channels),
    tuple(heads),
    tuple(down),
    blocks,
    latent,
    groups,
    epsilon,
    dtype,
    remat,
  )
  return module, text


def sample_side(path: str | Path) -> int:
  """Cells on a side of the latent images that a model was trained on.

  Args:
    path: of the U-Net's config.json.
  """
  found = json_files.read_json(path, dict[str, Any]).get("sample_size", 64)
  return found if isinstance(found, int) and found > 0 else 64


def _unknown(config: Mapping[str, Any]) -> list[str]:
  """Settings that would make another network."""
  wrong = []
  for key, value in config.items():
    plain = _PLAIN.get(key)
    known = key in _READ or key.startswith("_") or value == plain
    # What is off changes nothing.
    if not known and (key in _PLAIN or (value is not None and value != 0)):
      wrong.append(f"{key}={value!s:.60}")
  return wrong


def _whole_numbers(
  config: Mapping[str, Any], key: str, wrong: list[str], count: int = 0
) -> list[int]:
  """A list of positive numbers; `count` of one that stands alone."""
  found = config.get(key)
  if count and isinstance(found, int):
    found = [found] * count
  fine = isinstance(found, list) and found
  if not fine or any(type(x) is not int or x < 1 for x in found or ()):
    wrong.append(f"{key}={config.get(key)!s:.60}")
    return []
  if count == 1 and len(set(found or ())) > 1:
    wrong.append(f"{key}={config.get(key)!s:.60}")
  return list(found or ())


def _attends(
  config: Mapping[str, Any],
  key: str,
  known: Mapping[str, bool],
  wrong: list[str],
) -> list[bool]:
  found = config.get(key)
  if not isinstance(found, list) or any(x not in known for x in found):
    wrong.append(f"{key}={found!s:.200}")
    return []
  return [known[x] for x in found]


def _joined(tensors: Tensors) -> dict[str, np.ndarray]:
  """Query, key and value as one tensor; projections of cells as matrices."""
  found = {
    name: x[:, :, 0, 0]
    if ".proj_" in name and x.ndim == 4 and x.shape[2:] == (1, 1)
    else x
    for name, x in tensors.items()
  }
  for name in tensors:
    start, middle, _ = name.rpartition(".to_k.weight")
    if not middle:
      continue
    which = "qkv" if start.endswith("attn1") else "kv"
    parts = [f"{start}.to_{letter}.weight" for letter in which]
    # What does not fit is named as it stands in the file.
    fit = {found[part].shape[1:] for part in parts if part in found}
    if len(fit) == 1 and all(part in found for part in parts):
      joined = np.concatenate([found.pop(part) for part in parts])
      found[f"{start}.to_{which}.weight"] = joined
  return found


LAYOUT = Layout(
  "diffusers",
  naming(
    (r"(down|up)_(\d)", r"\1_blocks.\2"),
    ("mid", "mid_block"),
    (r"resnet_(\d)", r"resnets.\1"),
    (r"transformer_(\d)", r"attentions.\1"),
    (r"time_(\d)", r"time_embedding.linear_\1"),
    ("time", "time_emb_proj"),
    ("downsample", "downsamplers.0.conv"),
    (r"upsample_(\d)", r"up_blocks.\1.upsamplers.0.conv"),
    ("shortcut", "conv_shortcut"),
    ("norm_out", "conv_norm_out"),
    ("block", "transformer_blocks.0"),
    ("self_attention", "attn1"),
    ("text_attention", "attn2"),
    ("qkv", "to_qkv"),
    ("query", "to_q"),
    ("key_value", "to_kv"),
    ("out", "to_out.0"),
    ("expand", "ff.net.0.proj"),
    ("project", "ff.net.2"),
  ),
  arrange=_joined,
)
