"""Detectors of GAPL's own code: what becomes of their tensors."""

from pathlib import Path

import jax
import numpy as np
from PIL import Image
import pytest

import protojax as pj
from protojax import configuration, methods, parallel
from protojax.__main__ import main
from protojax.backbones import load as load_backbone
from protojax.engine import assets
from protojax.methods.gapl import foreign, network
from protojax.types import UserError
from protojax.weights import pytorch, reading

_D, _N, _WIDTH, _BLOCKS, _RANK = 8, 6, 64, 3, 2
_TOWER = "tests.methods.gapl.mini_clip.tower"
_LAYER = "feature_extractor.encoder.layers.{}"


def _encoder(rng):
  """Their names of the visual tower; PEFT renames three layers of a block."""
  shapes = {
    "embeddings.class_embedding": (_WIDTH,),
    "embeddings.patch_embedding.weight": (_WIDTH, 3, 4, 4),
    "embeddings.position_embedding.weight": (82, _WIDTH),
    "pre_layrnorm.weight": (_WIDTH,),
    "pre_layrnorm.bias": (_WIDTH,),
    "post_layernorm.weight": (_WIDTH,),
    "post_layernorm.bias": (_WIDTH,),
  }
  for i in range(_BLOCKS):
    block = f"encoder.layers.{i}."
    for part in ("q", "k", "v"):
      own = f"{block}self_attn.{part}_proj."
      shapes |= {
        f"{own}base_layer.weight": (_WIDTH, _WIDTH),
        f"{own}base_layer.bias": (_WIDTH,),
        f"{own}lora_A.default.weight": (_RANK, _WIDTH),
        f"{own}lora_B.default.weight": (_WIDTH, _RANK),
      }
    for name, o, n in (
      ("self_attn.out_proj", _WIDTH, _WIDTH),
      ("mlp.fc1", 4 * _WIDTH, _WIDTH),
      ("mlp.fc2", _WIDTH, 4 * _WIDTH),
    ):
      shapes |= {f"{block}{name}.weight": (o, n), f"{block}{name}.bias": (o,)}
    for norm in ("layer_norm1", "layer_norm2"):
      shapes |= {f"{block}{norm}.{x}": (_WIDTH,) for x in ("weight", "bias")}
  return {
    f"feature_extractor.{name}": np.float32(rng.normal(size=shape))
    for name, shape in shapes.items()
  }


@pytest.fixture(scope="module", autouse=True)
def towers():
  """There is no other CLIP."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(foreign, "_clips", lambda: (_TOWER,))
    yield


@pytest.fixture(scope="module")
def module():
  rng = np.random.default_rng(0)
  shapes = {
    "cross_attention.in_proj_weight": (3 * _D, _D),
    "cross_attention.in_proj_bias": (3 * _D,),
    "cross_attention.out_proj.weight": (_D, _D),
    "cross_attention.out_proj.bias": (_D,),
    "foren_proj.weight": (_D, _WIDTH),
    "fc.weight": (1, _D),
  }
  tensors = {k: np.float32(rng.normal(size=x)) for k, x in shapes.items()}
  rows = rng.normal(size=(_N, _D))
  rows = np.float32(rows / np.linalg.norm(rows, axis=1, keepdims=True))
  return pytorch.Module({}, _encoder(rng) | tensors, {}, {"propVec": rows})


def _imported(module):
  found = foreign.read(module, Path(), 0)
  config = configuration.read(foreign.config(found)).unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  method = methods.load(config, foreign.CLASS_NAMES)
  template = jax.eval_shape(method.init, parallel.init_key(0))
  return method, template, foreign.state(found, template, method)


@pytest.fixture(scope="module")
def imported(module):
  """The method, its template, and the state."""
  assert foreign.recognised(module)
  return _imported(module)


def test_merged_adapters_are_those_of_their_layers(module, imported):
  """W + 32 / r B A in the place of each layer, read without adapters."""
  method, _, state = imported
  assert method.config.adapters.rank == _RANK
  assert method.config.data.image_size == 36
  assert method.config.backbone.normalise == "imagenet"
  plain = dict(module.tensors)
  for i in range(_BLOCKS):
    for part in ("q", "k", "v"):
      own = f"{_LAYER.format(i)}.self_attn.{part}_proj"
      down, up = (
        plain.pop(f"{own}.lora_{x}.default.weight") for x in ("A", "B")
      )
      weight = plain.pop(f"{own}.base_layer.weight") + 32 / _RANK * up @ down
      plain[f"{own}.weight"] = weight
      plain[f"{own}.bias"] = plain.pop(f"{own}.base_layer.bias")
  own = {
    f"vision_model.{name.removeprefix('feature_extractor.')}": x
    for name, x in plain.items()
    if name.startswith("feature_extractor.")
  }
  expected = load_backbone(_TOWER).convert(own)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-3),
    jax.jit(method.network.encoder)(state),
    expected,
  )


def test_what_follows_the_encoder_is_theirs(module, imported):
  """Attention as PyTorch's: rows of one layer are queries, keys, values."""
  *_, state = imported
  rng, t = np.random.default_rng(1), module.tensors
  vectors = rng.normal(size=(5, _WIDTH))
  f = vectors @ t["foren_proj.weight"].T
  f = f / np.linalg.norm(f, axis=1, keepdims=True)
  q, k, v = (
    (x @ w.T + b).reshape(len(x), 4, 2)
    for x, w, b in zip(
      (f, module.beside["propVec"], module.beside["propVec"]),
      np.split(t["cross_attention.in_proj_weight"], 3),
      np.split(t["cross_attention.in_proj_bias"], 3),
      strict=True,
    )
  )
  scores = np.exp(np.einsum("bhe,nhe->bhn", q, k) / 2**0.5)
  weights = scores / scores.sum(axis=-1, keepdims=True)
  mixed = np.einsum("bhn,nhe->bhe", weights, v).reshape(5, _D)
  mixed = mixed @ t["cross_attention.out_proj.weight"].T
  mixed = mixed + t["cross_attention.out_proj.bias"]
  expected = mixed @ t["fc.weight"][0]
  made = network.Network(load_backbone(_TOWER), 36, _D, _N, 4, None)
  found = jax.jit(made.judged)(state.params, np.float32(vectors))
  np.testing.assert_allclose(found.logit, expected, rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(state.buffers["class_of"], [0] * 3 + [1] * 3)


def test_the_encoder_is_an_asset_of_the_run(imported, tmp_path):
  method, _, state = imported
  numbers = assets.of_stage(method.assets, tmp_path, "import", state.assets)
  again = assets.found(method.assets, tmp_path, numbers, {})
  jax.tree.map(
    np.testing.assert_array_equal, again["encoder"], state.assets["encoder"]
  )


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"fc.weight": None}, "there is no tensor fc.weight"),
    ({"feature_extractor.post_layernorm.bias": None}, "missing .*ln_post.bias"),
    (
      {f"{_LAYER.format(1)}.self_attn.k_proj.lora_B.default.weight": None},
      "there is no tensor .*1.self_attn.k_proj.lora_B",
    ),
    (
      {"feature_extractor.embeddings.patch_embedding.weight": np.ones((2, 3))},
      r"has patches of the shape \(2, 3\)",
    ),
  ],
)
def test_a_detector_that_does_not_fit_is_told(module, imported, change, said):
  tensors = {
    k: x for k, x in {**module.tensors, **change}.items() if x is not None
  }
  method, template, _ = imported
  broken = pytorch.Module({}, tensors, {}, module.beside)
  with pytest.raises(UserError, match=said):
    foreign.state(foreign.read(broken, Path(), 0), template, method)


def test_without_a_dictionary_there_is_no_detector(module, imported):
  bare = pytorch.Module({}, module.tensors, {})
  with pytest.raises(UserError, match="no dictionary of prototypes beside"):
    foreign.read(bare, Path(), 0)
  with pytest.raises(UserError, match="--push: a prototype of GAPL is a dir"):
    foreign.pushed(imported[0], imported[-1])


@pytest.mark.slow
def test_an_imported_detector_answers(module, tmp_path, monkeypatch):
  """With the encoder that was in the file, though the file has gone."""
  monkeypatch.setattr(reading, "read_module", lambda file: module)
  run = tmp_path / "run"
  assert main(["import", "gone.pt", f"--output={run}"]) == 0
  pixels = np.random.default_rng(2).integers(0, 256, (36, 36, 3), np.uint8)
  image = tmp_path / "image.png"
  Image.fromarray(pixels).save(image)
  answer = pj.load(run).predict(image).probabilities
  assert list(answer) == list(foreign.CLASS_NAMES)
