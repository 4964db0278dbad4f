"""A tiny Stable Diffusion as diffusers saves one, of a formula's numbers."""

import json

import numpy as np
from safetensors.numpy import save_file

from protojax.text import bpe
from tests.backbones import formula
from tests.diffusion import foreign_autoencoder

WIDTH, TEXT, WORDS, LENGTH = (8, 16), 8, 518, 16
LETTERS = [("r", "e"), ("re", "d</w>"), ("c", "u"), ("cu", "p</w>")]
UNET = {
  "_class_name": "UNet2DConditionModel",
  "sample_size": 6,
  "in_channels": 2,
  "out_channels": 2,
  "block_out_channels": list(WIDTH),
  "layers_per_block": 1,
  "attention_head_dim": [2, 4],
  "cross_attention_dim": TEXT,
  "norm_num_groups": 4,
  "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
  "transformer_layers_per_block": 1,
  "encoder_hid_dim": None,
}
CODER = {"norm_num_groups": 2, "scaling_factor": 0.5}
TOWER = {
  "hidden_size": TEXT,
  "num_hidden_layers": 1,
  "num_attention_heads": 2,
  "intermediate_size": 4 * TEXT,
  "vocab_size": WORDS,
  "max_position_embeddings": LENGTH,
  "hidden_act": "gelu",
}
SCHEDULER = {
  "_class_name": "PNDMScheduler",
  "beta_start": 0.00085,
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "prediction_type": "v_prediction",
  "steps_offset": 1,
  "set_alpha_to_one": False,
}


def unet_tensors(linear=True):
  """Those of a U-Net; projections of cells as matrices or convolutions."""
  found = {}

  def add(name, *shape, bias=True):
    found[f"{name}.weight"] = formula.tensor(f"{name}.weight", shape)
    if bias:
      found[f"{name}.bias"] = formula.tensor(f"{name}.bias", shape[:1])

  def resnet(name, inputs, outputs):
    add(f"{name}.norm1", inputs)
    add(f"{name}.conv1", outputs, inputs, 3, 3)
    add(f"{name}.time_emb_proj", outputs, 4 * WIDTH[0])
    add(f"{name}.norm2", outputs)
    add(f"{name}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
      add(f"{name}.conv_shortcut", outputs, inputs, 1, 1)

  def attention(name, width):
    cell = (width, width) if linear else (width, width, 1, 1)
    add(f"{name}.norm", width)
    add(f"{name}.proj_in", *cell)
    block = f"{name}.transformer_blocks.0"
    for n, inputs in enumerate((width, TEXT), 1):
      add(f"{block}.norm{n}", width)
      for part, size in (("q", width), ("k", inputs), ("v", inputs)):
        add(f"{block}.attn{n}.to_{part}", width, size, bias=False)
      add(f"{block}.attn{n}.to_out.0", width, width)
    add(f"{block}.norm3", width)
    add(f"{block}.ff.net.0.proj", 8 * width, width)
    add(f"{block}.ff.net.2", width, 4 * width)
    add(f"{name}.proj_out", *cell)

  a, b = WIDTH
  add("conv_in", a, 2, 3, 3)
  add("time_embedding.linear_1", 4 * a, a)
  add("time_embedding.linear_2", 4 * a, 4 * a)
  resnet("down_blocks.0.resnets.0", a, a)
  attention("down_blocks.0.attentions.0", a)
  add("down_blocks.0.downsamplers.0.conv", a, a, 3, 3)
  resnet("down_blocks.1.resnets.0", a, b)
  resnet("mid_block.resnets.0", b, b)
  attention("mid_block.attentions.0", b)
  resnet("mid_block.resnets.1", b, b)
  for j, skip in enumerate((b, a)):
    resnet(f"up_blocks.0.resnets.{j}", b + skip, b)
  add("up_blocks.0.upsamplers.0.conv", b, b, 3, 3)
  for j, inputs in enumerate((b + a, a + a)):
    resnet(f"up_blocks.1.resnets.{j}", inputs, a)
    attention(f"up_blocks.1.attentions.{j}", a)
  add("conv_norm_out", a)
  add("conv_out", 2, a, 3, 3)
  return found


def tower_tensors(prefix="text_model."):
  """Those of CLIP's text tower."""
  layer = "encoder.layers.0."
  shapes = {
    "embeddings.token_embedding.weight": (WORDS, TEXT),
    "embeddings.position_embedding.weight": (LENGTH, TEXT),
  }
  for name, *shape in (
    *((f"{layer}self_attn.{x}_proj", TEXT, TEXT) for x in "qkv"),
    (f"{layer}self_attn.out_proj", TEXT, TEXT),
    (f"{layer}layer_norm1", TEXT),
    (f"{layer}layer_norm2", TEXT),
    (f"{layer}mlp.fc1", 4 * TEXT, TEXT),
    (f"{layer}mlp.fc2", TEXT, 4 * TEXT),
    ("final_layer_norm", TEXT),
  ):
    shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
  return {
    f"{prefix}{name}": formula.tensor(name, tuple(shape))
    for name, shape in shapes.items()
  }


def write_json(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def write_tokenizer(folder, most=LENGTH):
  """CLIP's tokeniser with few merges; its vocabulary, in an own order."""
  rows = bpe.from_merges(LETTERS, most).rows
  rows = {piece: len(rows) - 1 - n for piece, n in rows.items()}
  write_json(folder / "vocab.json", rows)
  lines = ["#version: 0.2", *(" ".join(pair) for pair in LETTERS)]
  (folder / "merges.txt").write_text("\n".join(lines) + "\n")
  begin, end = "<|startoftext|>", "<|endoftext|>"
  special = {"bos_token": begin, "eos_token": end, "unk_token": end}
  special["pad_token"] = {"content": "!"}
  write_json(folder / "special_tokens_map.json", special)
  kind = {"model_max_length": most, "tokenizer_class": "CLIPTokenizer"}
  write_json(folder / "tokenizer_config.json", kind)
  return rows


def write(folder):
  """The whole folder."""
  write_json(
    folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"}
  )
  for part, config, name, tensors in (
    ("unet", UNET, "diffusion_pytorch_model", unet_tensors()),
    ("vae", CODER, "diffusion_pytorch_model", foreign_autoencoder.tensors()),
    ("text_encoder", TOWER, "model", tower_tensors()),
  ):
    write_json(folder / part / "config.json", config)
    save_file(tensors, folder / part / f"{name}.safetensors")
  write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
  write_tokenizer(folder / "tokenizer")
  return folder


def given(size=(5, 7)):
  """Noisy latents, a time, states of words."""
  h, w = size
  x = 2 * formula.uniform("noisy", 2 * h * w).reshape(1, h, w, 2)
  text = 2 * formula.uniform("text", 3 * TEXT).reshape(1, 3, TEXT)
  return x, np.float32([321]), text
