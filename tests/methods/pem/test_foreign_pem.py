"""The names of the authors' checkpoints, and what is no network of theirs."""

import functools
from pathlib import Path
import re

import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from configs import pem_folder
from protojax import backbones, methods, parallel
from protojax.methods.pem import foreign
from protojax.types import UserError
from protojax.weights import pytorch

_CLASSES = 3
_OF_STAGE = (3, 4, 6, 3)


def _norm(name, width, rng, running=True):
  kinds = ("weight", "bias", "running_mean", "running_var")
  return {
    f"{name}.{kind}": rng.normal(size=width)
    for kind in kinds[: 4 if running else 2]
  }


def _resnet(rng):
  found = {"stem.conv1.weight": (64, 3, 7, 7)}
  norms = {"stem.conv1.norm": 64}
  width = 64
  for stage, count in enumerate(_OF_STAGE):
    inner = 64 * 2**stage
    for block in range(count):
      place = f"res{stage + 2}.{block}"
      shapes = {
        "conv1": (inner, width, 1, 1),
        "conv2": (inner, inner, 3, 3),
        "conv3": (4 * inner, inner, 1, 1),
      }
      if not block:
        shapes["shortcut"] = (4 * inner, width, 1, 1)
      for name, shape in shapes.items():
        found[f"{place}.{name}.weight"] = shape
        norms[f"{place}.{name}.norm"] = shape[0]
      width = 4 * inner
  tensors = {n: np.zeros(shape, np.float32) for n, shape in found.items()}
  for name, channels in norms.items():
    tensors |= _norm(name, channels, rng)
  return tensors


def _stdc(rng, blocks=(2, 2, 2)):
  """Stem and blocks, numbered through; those of a stride once more."""
  shapes = {"features.0": (32, 3, 3, 3), "features.1": (64, 32, 3, 3)}
  found, width, number = {}, 64, 2
  for stage, count in enumerate(blocks):
    out = 256 * 2**stage
    for block in range(count):
      place = f"features.{number}"
      half, quarter, eighth = out // 2, out // 4, out // 8
      if not block:
        found[f"{place}.avd_layer.0.weight"] = np.zeros((half, 1, 3, 3))
        found |= _norm(f"{place}.avd_layer.1", half, rng)
      shapes |= {
        f"{place}.conv_list.0": (half, width, 1, 1),
        f"{place}.conv_list.1": (quarter, half, 3, 3),
        f"{place}.conv_list.2": (eighth, quarter, 3, 3),
        f"{place}.conv_list.3": (eighth, eighth, 3, 3),
      }
      width, number = out, number + 1
  for name, shape in shapes.items():
    found[f"{name}.conv.weight"] = rng.normal(size=shape)
    found |= _norm(f"{name}.bn", shape[0], rng)
  again = {
    f"x{2 ** (1 + int(name.split('.')[1]))}.0.0.{name.split('.', 2)[2]}": x
    for name, x in found.items()
    if int(name.split(".")[1]) < 2
  }
  return found | again


def _pixels(rng, widths=(256, 512, 1024, 2048)):
  shapes = {
    **{
      f"in_projections.{i}.conv": (8, width, 1, 1)
      for i, width in enumerate(widths)
    },
    "conv_avg.conv": (8, widths[-1], 1, 1),
    "out.conv": (12, 8, 1, 1),
    **{f"csm.{i}.mlp.0.mlp.0": (4, 8, 1, 1) for i in range(4)},
    **{f"csm.{i}.mlp.0.mlp.3": (8, 4, 1, 1) for i in range(4)},
    **{f"dcn.{i}.dcn": (8, 8, 3, 3) for i in range(3)},
    **{f"dcn.{i}.dcn_offset": (27, 8, 3, 3) for i in range(3)},
    **{f"dcn.{i}.up_sample": (8, 8, 4, 4) for i in range(3)},
  }
  found = {f"{n}.weight": rng.normal(size=s) for n, s in shapes.items()}
  for i in range(3):
    found[f"dcn.{i}.dcn_offset.bias"] = rng.normal(size=27)
    found |= _norm(f"dcn.{i}.dcn_bn", 8, rng) | _norm(f"dcn.{i}.up_bn", 8, rng)
  for i in range(4):
    found |= _norm(f"csm.{i}.mlp.0.mlp.1", 4, rng)
    found |= _norm(f"in_projections.{i}.bn", 8, rng)
  return {**found, **_norm("conv_avg.bn", 8, rng), **_norm("out.bn", 12, rng)}


def _decoder(rng):
  cross = "transformer_cross_attention_layers.0"
  among = "transformer_self_attention_layers.0"
  forward = "transformer_ffn_layers.0"
  linear = {
    f"{cross}.feature_proj.out": (16, 16),
    f"{cross}.query_proj.1": (16, 16),
    f"{cross}.proj": (16, 16),
    f"{cross}.final": (16, 16),
    f"{among}.self_attn.out_proj": (16, 16),
    f"{forward}.linear1": (32, 16),
    f"{forward}.linear2": (16, 32),
    "class_embed": (_CLASSES + 1, 16),
    "mask_embed.layers.0": (16, 16),
    "mask_embed.layers.1": (16, 16),
    "mask_embed.layers.2": (12, 16),
    f"{cross}.feature_proj.to_query_3x3": (16, 1, 3, 3),
    **{f"input_proj.{i}": (16, 8, 1, 1) for i in range(3)},
  }
  found = {f"{n}.weight": rng.normal(size=s) for n, s in linear.items()}
  found |= {f"{n}.bias": rng.normal(size=s[0]) for n, s in linear.items()}
  for name in (f"{cross}.query_proj.0", f"{among}.norm", f"{forward}.norm"):
    found |= _norm(name, 16, rng, running=False)
  return {
    **found,
    **_norm(f"{cross}.feature_proj.bn", 16, rng),
    **_norm("decoder_norm", 16, rng, running=False),
    f"{cross}.alpha": rng.normal(size=(1, 1, 16)),
    f"{among}.self_attn.in_proj_weight": rng.normal(size=(48, 16)),
    f"{among}.self_attn.in_proj_bias": rng.normal(size=48),
    "query_feat.weight": rng.normal(size=(5, 16)),
    "query_embed.weight": rng.normal(size=(5, 16)),
    "level_embed.weight": rng.normal(size=(3, 16)),
  }


def _module(backbone, widths):
  """What the file of a small network would hold."""
  rng = np.random.default_rng(0)
  parts = {
    "backbone.": backbone(rng),
    "sem_seg_head.pixel_decoder.": _pixels(rng, widths),
    "sem_seg_head.predictor.": _decoder(rng),
  }
  tensors = {
    prefix + name: np.asarray(x, np.float32)
    for prefix, some in parts.items()
    for name, x in some.items()
  }
  return pytorch.Module({}, tensors, {})


@pytest.fixture(scope="module")
def module():
  """With a ResNet-50."""
  return _module(_resnet, (256, 512, 1024, 2048))


def _opened(module):
  """What `import` makes of the file: method, state, and what is found."""
  found = foreign.read(module, Path(), 64)
  config = pem_folder.get_config("paper").unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  config.decoder.heads = 4
  method = methods.load(config, tuple("abc"))
  template = jax.eval_shape(method.init, parallel.init_key(0))
  return method, foreign.state(found, template, method), found


@pytest.mark.slow
def test_every_tensor_finds_its_place(module):
  assert foreign.recognised(module)
  method, state, found = _opened(module)
  assert "64" in found.notes[0]
  assert foreign.config(found) == "pem_folder:paper"
  assert method.network.decoder.layers == 1
  said = foreign.described(found)
  assert (
    said
    == "resnet50 with 5 queries and 1 layers, 3 classes, images of 64 pixels"
  )
  own, given = state.params["decoder"], module.tensors
  head = "sem_seg_head.predictor."
  among = f"{head}transformer_self_attention_layers.0.self_attn."
  whole = given[f"{among}in_proj_weight"]
  assert_array_equal(own["among_0"]["key"]["kernel"], whole[16:32].T)
  assert_array_equal(
    own["among_0"]["value"]["bias"], given[f"{among}in_proj_bias"][32:]
  )
  assert_array_equal(own["places"], given[f"{head}query_embed.weight"])
  pixels = "sem_seg_head.pixel_decoder."
  assert_array_equal(
    state.params["pixels"]["level_3"]["conv"]["kernel"][0, 0],
    given[f"{pixels}in_projections.0.conv.weight"][..., 0, 0].T,
  )
  assert_array_equal(
    state.params["pixels"]["double_1"]["kernel"],
    given[f"{pixels}dcn.1.up_sample.weight"].transpose(2, 3, 0, 1),
  )
  assert_array_equal(
    state.statistics["pixels"]["batch_stats"]["double_norm_2"]["var"],
    given[f"{pixels}dcn.2.up_bn.running_var"],
  )
  with pytest.raises(UserError, match="no prototypes that could be pushed"):
    foreign.pushed(method, state)


@pytest.mark.slow
def test_a_network_with_stdc_finds_its_place():
  module = _module(_stdc, (64, 256, 512, 1024))
  method, state, found = _opened(module)
  assert method.config.backbone.name == "stdc1"
  assert foreign.described(found).startswith("stdc1 with 5 queries")
  assert method.network.levels[-1] == "stage_5"
  given, own = module.tensors, state.params["backbone"]
  assert_array_equal(
    own["stage_5_block_1"]["conv_4"]["kernel"],
    given["backbone.features.7.conv_list.3.conv.weight"].transpose(2, 3, 1, 0),
  )
  assert_array_equal(
    state.statistics["backbone"]["batch_stats"]["stem_norm_1"]["var"],
    given["backbone.features.0.bn.running_var"],
  )
  assert_array_equal(
    state.params["pixels"]["level_3"]["conv"]["kernel"][0, 0],
    given["sem_seg_head.pixel_decoder.in_projections.0.conv.weight"][
      ..., 0, 0
    ].T,
  )


@pytest.mark.slow
def test_stdc2_is_told_from_stdc1_by_its_blocks():
  """It has all kernels of the smaller one, and more."""
  blocks = functools.partial(_stdc, blocks=(4, 5, 3))
  module = _module(blocks, (64, 256, 512, 1024))
  found = foreign.read(module, Path(), 64)
  assert foreign.described(found).startswith("stdc2 with 5 queries")
  told = foreign.settings(found)
  assert told["backbone.name"] == "stdc2"
  backbone = backbones.load("stdc2", "float32", remat=False)
  own = foreign._below(found.tensors, "backbone.")
  kernels = backbone.convert(own)["params"]
  assert kernels["stage_5_block_2"]["conv_4"]["kernel"].shape[2:] == (128, 128)


@pytest.mark.parametrize("deeper", [False, True])
def test_another_backbone_is_refused(module, deeper):
  tensors = {
    name: x
    for name, x in module.tensors.items()
    if deeper or not re.match(r"backbone\.", name)
  }
  if deeper:
    tensors["backbone.res4.6.conv3.weight"] = np.zeros((1, 1, 1, 1))
  with pytest.raises(UserError, match="not one of PEM's code: expected"):
    foreign.read(pytorch.Module({}, tensors, {}), Path(), 0)
  assert not foreign.recognised(pytorch.Module({}, {}, {}))
