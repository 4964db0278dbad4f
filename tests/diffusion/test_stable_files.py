"""Folders of diffusers: how weights lie in them, and those that are refused."""

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from protojax.diffusion.stable import base, tower, unet_file
from protojax.text import bpe
from protojax.types import UserError
from protojax.weights import components
from protojax.weights.naming import convert
from tests.diffusion import published, stable_folder

NAME = unet_file.NAME


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  return stable_folder.write(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def template():
  """Shapes of the U-Net."""
  return unet_file.shapes(*unet_file.made(stable_folder.UNET, "unet"))


@pytest.fixture
def folder(whole, tmp_path):
  """One's own copy, to be changed."""
  return shutil.copytree(whole, tmp_path / "copy")


def change(path, **settings):
  content = json.loads(path.read_text()) | settings
  path.write_text(json.dumps(content))


def test_weights_in_several_files_and_in_half_precision(tmp_path):
  tensors = stable_folder.unet_tensors()
  names = sorted(tensors)
  halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
  for file, own in halves.items():
    save_file({name: tensors[name] for name in own}, tmp_path / file)
  places = {name: file for file, own in halves.items() for name in own}
  index = tmp_path / f"{NAME}.safetensors.index.json"
  stable_folder.write_json(index, {"metadata": {}, "weight_map": places})
  small = tmp_path / f"{NAME}.fp16.safetensors"
  save_file({name: np.float16(x) for name, x in tensors.items()}, small)
  # Whole precision first, in however many files.
  assert components.find(tmp_path, NAME) == index
  found = components.read(index)
  jax.tree.map(np.testing.assert_array_equal, dict(found), tensors)
  index.rename(tmp_path / f"{NAME}.safetensors.index.fp16.json")
  assert components.find(tmp_path, NAME) == small
  assert components.read(small)["conv_in.bias"].dtype == np.float16
  for changed, why in (
    ({"more": "a.safetensors"}, "lists 1 tensors that its files lack, such as"),
    ({"more": "../a.safetensors"}, "expected a file beside it"),
  ):
    stable_folder.write_json(index, {"weight_map": places | changed})
    with pytest.raises(UserError, match=why):
      components.read(index)


def test_folders_without_safetensors_are_told(tmp_path):
  with pytest.raises(UserError, match=r"no folder .*unet"):
    components.find(tmp_path / "unet", NAME)
  with pytest.raises(UserError, match="has no weights; expected diffusion_p"):
    components.find(tmp_path, NAME)
  (tmp_path / f"{NAME}.bin").write_bytes(b"x")
  why = rf"only {NAME}\.bin; expected .*safe_serialization=True"
  with pytest.raises(UserError, match=why):
    components.find(tmp_path, NAME)


def test_all_origins_give_the_same_weights(template):
  """Convolutions of one cell, half precision, names of transformers 5."""
  tensors = stable_folder.unet_tensors()
  half = {name: np.float16(x) for name, x in tensors.items()}
  expected, cells, small = (
    convert(found, template, (unet_file.LAYOUT,))
    for found in (tensors, stable_folder.unet_tensors(linear=False), half)
  )
  jax.tree.map(np.testing.assert_array_equal, cells, expected)
  for one, other in zip(*map(jax.tree.leaves, (small, expected)), strict=True):
    assert one.dtype == np.float32
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
  newer = tower.named(stable_folder.tower_tensors(prefix=""))
  older = tower.named(stable_folder.tower_tensors())
  jax.tree.map(np.testing.assert_array_equal, newer, older)


def test_every_tensor_must_have_its_place(folder, monkeypatch, template):
  monkeypatch.setattr(unet_file, "shapes", lambda *_: template)
  path = folder / "unet" / f"{NAME}.safetensors"
  tensors = load_file(path)
  block = "mid_block.attentions.0.transformer_blocks.0"
  del tensors[f"{block}.attn1.to_q.weight"]
  tensors["more"] = np.zeros(1, np.float32)
  tensors["conv_in.bias"] = np.zeros(9, np.float32)
  save_file(tensors, path)
  with pytest.raises(UserError) as told:
    unet_file.read(folder / "unet")
  for part in (
    str(path),
    f"missing {block}.attn1.to_qkv.weight",
    f"superfluous {block}.attn1.to_k.weight",
    "superfluous more",
    "conv_in.bias has shape (9,) where params/conv_in/bias has (8,)",
  ):
    assert part in str(told.value)
  assert "\n" not in str(told.value)


@pytest.mark.parametrize(
  ("settings", "why"),
  [
    ({"in_channels": 9}, "in_channels=9 where out_channels=4: models that"),
    (
      {
        "addition_embed_type": "text_time",
        "transformer_layers_per_block": [1, 2, 10],
        "projection_class_embeddings_input_dim": 2816,
      },
      r"transformer_layers_per_block=\[1, 2, 10\]; .*_dim=2816",
    ),
    ({"down_block_types": ["AttnDownBlock2D"]}, r"\['AttnDownBlock2D'\]"),
    ({"block_out_channels": "x", "norm_eps": "y"}, "channels=x; .*norm_eps=y"),
    ({"attention_head_dim": [5, 10]}, "levels up that are not those down"),
    ({"attention_head_dim": 7}, "320 channels, 7 heads and 32 groups"),
    ({"layers_per_block": [2, 2, 3, 2]}, r"layers_per_block=\[2, 2, 3, 2\]"),
    ({"act_fn": None}, "act_fn=None"),
  ],
)
def test_settings_of_other_networks_are_told(settings, why):
  config = published.UNET["1.5"] | settings
  with pytest.raises(UserError, match=f"x is not of Stable Diffusion .*{why}"):
    unet_file.made(config, "x")


def test_published_settings_are_known():
  net, channels = unet_file.made(published.UNET["1.5"], "x")
  assert channels == 768
  assert net.heads == (8, 8, 8, 8)
  net, channels = unet_file.made(published.UNET["2.1"], "x")
  assert channels == 1024
  assert net.heads == (5, 10, 20, 20)
  towers = [tower.made(published.TEXT[v], "x") for v in ("1.5", "2.1")]
  assert [t.blocks for t in towers] == [12, 23]
  assert [t.quick_gelu for t in towers] == [True, False]
  for settings, why in (
    ({"hidden_act": "relu"}, "hidden_act=relu"),
    ({"intermediate_size": 7}, "intermediate_size=7, expected 3072"),
    ({"layer_norm_eps": 1.0, "vocab_size": 0}, r"vocab_size=0; .*eps=1\.0"),
    ({"num_attention_heads": 7}, "7 heads of 768 channels"),
  ):
    with pytest.raises(UserError, match=f"text tower of CLIP: .*{why}"):
      tower.made(published.TEXT["1.5"] | settings, "x")


def test_folders_of_other_models_are_told(folder):
  index = folder / "model_index.json"
  change(index, _class_name="StableDiffusionXLPipeline")
  why = r"is of StableDiffusionXLPipeline, .*give the folder of a Stable Diff"
  with pytest.raises(UserError, match=why):
    base.load(folder)
  index.unlink()
  with pytest.raises(UserError, match=r"has no model_index\.json"):
    base.load(folder)


@pytest.mark.slow
def test_parts_that_do_not_fit_together_are_told(folder):
  change(folder / "text_encoder" / "config.json", vocab_size=300)
  path = folder / "text_encoder" / "model.safetensors"
  tensors = load_file(path)
  name = "text_model.embeddings.token_embedding.weight"
  save_file({**tensors, name: tensors[name][:300]}, path)
  with pytest.raises(UserError, match="numbers up to 517, and text_enc"):
    base.load(folder)
  change(folder / "unet" / "config.json", cross_attention_dim=9)
  path = folder / "unet" / f"{NAME}.safetensors"
  wider = {
    key: np.zeros((x.shape[0], 9), np.float32)
    if "attn2.to_k" in key or "attn2.to_v" in key
    else x
    for key, x in load_file(path).items()
  }
  save_file(wider, path)
  with pytest.raises(UserError, match=r"states of 9 channels, .* gives 8"):
    base.load(folder)


def test_tokenisers_keep_their_own_order(tmp_path):
  rows = stable_folder.write_tokenizer(tmp_path)
  usual = bpe.read(tmp_path / "merges.txt", 16)
  found = bpe.read_folder(tmp_path, 16)
  assert found.rows == rows != usual.rows
  assert found.pieces("Red cup") == usual.pieces("Red cup")
  both = {"model": {"vocab": rows, "merges": stable_folder.LETTERS}}
  alone = tmp_path / "alone"
  with pytest.raises(UserError, match=r"neither vocab\.json nor tokenizer"):
    bpe.read_folder(alone, 16)
  stable_folder.write_json(alone / "tokenizer.json", both)
  again = bpe.read_folder(alone, 16)
  assert (again.rows, again.ranks) == (rows, usual.ranks)
  with pytest.raises(UserError, match="no pad_token in special_tokens_map"):
    tower.read_words(alone, 16)
  stable_folder.write_json(
    alone / "tokenizer_config.json", {"pad_token": "<pad>"}
  )
  with pytest.raises(UserError, match="'<pad>' is not in the vocabulary"):
    tower.read_words(alone, 16)
  del rows["cup</w>"]
  stable_folder.write_json(tmp_path / "vocab.json", rows)
  with pytest.raises(UserError, match=r"lacks 1 pieces .*'cup</w>'"):
    bpe.read_folder(tmp_path, 16)
