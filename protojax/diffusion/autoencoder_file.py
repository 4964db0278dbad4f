"""Reads the weights of an autoencoder from a user's file.

The file is diffusion_pytorch_model.safetensors of sd-vae-ft-mse, or any other
of diffusers' AutoencoderKL, in its earlier names or its newer ones. Sizes are
those of the tensors; a config.json beside the file tells what they do not.
"""

from collections.abc import Mapping
import hashlib
from pathlib import Path
from typing import NotRequired, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from protojax import json_files, text_files
from protojax.diffusion.autoencoder import Autoencoder
from protojax.types import PyTree, UserError
from protojax.weights import prefixes, reading
from protojax.weights.naming import Layout, Tensors, convert, naming

_FIRST = "encoder.down_blocks.{}.resnets.{}.conv1.weight"
_BLOCK = 1 << 20  # bytes
_GIVE = (
  "give the file of an AutoencoderKL, such as diffusion_pytorch_model"
  ".safetensors of stabilityai/sd-vae-ft-mse"
)


class _Config(TypedDict):
  """What is read of the config.json beside the weights."""

  norm_num_groups: NotRequired[int]
  scaling_factor: NotRequired[float]
  shift_factor: NotRequired[float | None]


def read(
  path: str | Path, dtype: type = jnp.float32
) -> tuple[Autoencoder, PyTree]:
  """The autoencoder in a file, and its variables as NumPy.

  Args:
    path: of the file; a config.json beside it may give norm_num_groups (else
      32) and scaling_factor (else 0.18215).
    dtype: type of computation.

  Raises:
    UserError: the file cannot be read or is of another network; lists the
      tensors that are missing, superfluous or misshapen.
  """
  return made(reading.read(path), path, dtype)


def made(
  tensors: Tensors, path: str | Path, dtype: type = jnp.float32
) -> tuple[Autoencoder, PyTree]:
  """The autoencoder of tensors that were read of `path`; see `read`."""
  tensors = prefixes.bare(tensors)
  module = _module(Path(path), tensors, dtype)
  side = 2 * module.stride
  images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  template = jax.eval_shape(module.init, jax.random.key(0), images)
  try:
    return module, convert(tensors, template, LAYOUTS)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error


def digest(path: str | Path) -> str:
  """32 hexadecimal digits that identify a file of weights.

  Raises:
    UserError: the file cannot be read.
  """
  state = hashlib.blake2b(digest_size=16)
  with text_files.opened(path) as file:
    while block := file.read(_BLOCK):
      state.update(block)
  return state.hexdigest()


def _module(path: Path, tensors: Tensors, dtype: type) -> Autoencoder:
  channels, blocks = [], 0
  while _FIRST.format(len(channels), 0) in tensors:
    kernel = tensors[_FIRST.format(len(channels), 0)]
    channels.append(len(kernel) if kernel.ndim else 0)
  while _FIRST.format(0, blocks) in tensors:
    blocks += 1
  quant = tensors.get("quant_conv.bias")
  if not channels or quant is None or quant.ndim != 1:
    some = ", ".join(f"{name:.60}" for name in list(tensors)[:3])
    raise UserError(
      f"{path} is no autoencoder: among {len(tensors)} tensors ({some}, ...)"
      f" there is no {_FIRST.format(0, 0)} or no quant_conv.bias; {_GIVE}"
    )
  config = _config(path.parent / "config.json")
  groups = config.get("norm_num_groups", 32)
  if groups < 1 or any(c % groups or not c for c in channels):
    raise UserError(
      f"{path} has levels of {channels} channels, which do not divide into"
      f" norm_num_groups={groups}: put the config.json of the same model beside"
      " it"
    )
  scale = config.get("scaling_factor", Autoencoder.scale)
  return Autoencoder(
    tuple(channels), blocks, len(quant) // 2, groups, scale, dtype
  )


def _config(path: Path) -> _Config:
  if not path.exists():
    return {}
  config = json_files.read_json(path, _Config, "get it again, or remove it")
  if config.get("shift_factor"):
    raise UserError(
      f"{path} has shift_factor={config['shift_factor']}; autoencoders that"
      f" shift their latents are not read: {_GIVE}"
    )
  if not config.get("scaling_factor", 1) > 0:
    raise UserError(
      f"{path} has scaling_factor={config['scaling_factor']}; expected one"
      " above 0: get it again, or remove it"
    )
  return config


def _as_matrices(tensors: Tensors) -> Mapping[str, np.ndarray]:
  """Attention's weights as matrices, where a file has them as convolutions."""
  return {
    name: x[:, :, 0, 0]
    if ".attentions." in name and x.shape[2:] == (1, 1)
    else x
    for name, x in tensors.items()
  }


_RULES = (
  (r"(down|up)_(\d)", r"\1_blocks.\2"),
  ("mid", "mid_block"),
  (r"resnet_(\d)", r"resnets.\1"),
  (r"(down|up)sample", r"\1samplers.0.conv"),
  ("shortcut", "conv_shortcut"),
  ("norm_out", "conv_norm_out"),
  ("(quant|post_quant)", r"\1_conv"),
  ("attention/norm", "attentions.0.group_norm"),
)
_LOOKED = ("query", "key", "value")
LAYOUTS = (
  Layout(
    "diffusers",
    naming(
      *_RULES,
      *((f"attention/{n}", f"attentions.0.to_{n[0]}") for n in _LOOKED),
      ("attention/out", "attentions.0.to_out.0"),
    ),
    arrange=_as_matrices,
  ),
  Layout(
    "diffusers before 0.15",
    naming(
      *_RULES,
      *((f"attention/{n}", f"attentions.0.{n}") for n in _LOOKED),
      ("attention/out", "attentions.0.proj_attn"),
    ),
    arrange=_as_matrices,
  ),
)
