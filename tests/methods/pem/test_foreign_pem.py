"""The names of the authors' checkpoints, and what is no network of theirs."""

from pathlib import Path
import re

import jax
import numpy as np
from numpy.testing import assert_array_equal
import pytest

from configs import pem_folder
from protojax import methods, parallel
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


def _pixels(rng):
  shapes = {
    **{f"in_projections.{i}.conv": (8, 256 * 2**i, 1, 1) for i in range(4)},
    "conv_avg.conv": (8, 2048, 1, 1),
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


@pytest.fixture(scope="module")
def module():
  """What the file of a small network would hold."""
  rng = np.random.default_rng(0)
  parts = {
    "backbone.": _resnet(rng),
    "sem_seg_head.pixel_decoder.": _pixels(rng),
    "sem_seg_head.predictor.": _decoder(rng),
  }
  tensors = {
    prefix + name: np.asarray(x, np.float32)
    for prefix, some in parts.items()
    for name, x in some.items()
  }
  return pytorch.Module({}, tensors, {})


@pytest.mark.slow
def test_every_tensor_finds_its_place(module):
  assert foreign.recognised(module)
  found = foreign.read(module, Path(), 64)
  assert "64" in found.notes[0]
  assert foreign.config(found) == "pem_folder:paper"
  config = pem_folder.get_config("paper").unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  config.decoder.heads = 4
  method = methods.load(config, tuple("abc"))
  assert method.network.decoder.layers == 1
  template = jax.eval_shape(method.init, parallel.init_key(0))
  state = foreign.state(found, template, method)
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


def test_another_backbone_is_refused(module):
  tensors = {
    name: x
    for name, x in module.tensors.items()
    if not re.match(r"backbone\.", name)
  }
  with pytest.raises(UserError, match="no ResNet-50 of detectron2"):
    foreign.read(pytorch.Module({}, tensors, {}), Path(), 0)
  assert not foreign.recognised(pytorch.Module({}, {}, {}))
