"""An AutoencoderKL as diffusers names its tensors, and what it computes."""

import numpy as np


def tensors(channels=(4, 8), blocks=1, latent=2, newer=True, seed=0):
  """Tensors by diffusers' names, of no special values."""
  rng = np.random.default_rng(seed)
  found = {}

  def add(name, *shape):
    scale = 0.5 / np.sqrt(np.prod(shape[1:]))
    for kind, size in (("weight", shape), ("bias", shape[:1])):
      values = rng.normal(size=size) * scale
      found[f"{name}.{kind}"] = values.astype(np.float32)

  def norm(name, count):
    add(name, count)
    found[f"{name}.weight"] += 1

  def resnet(name, inputs, outputs):
    norm(f"{name}.norm1", inputs)
    add(f"{name}.conv1", outputs, inputs, 3, 3)
    norm(f"{name}.norm2", outputs)
    add(f"{name}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
      add(f"{name}.conv_shortcut", outputs, inputs, 1, 1)

  def middle(name, count):
    resnet(f"{name}.resnets.0", count, count)
    resnet(f"{name}.resnets.1", count, count)
    norm(f"{name}.attentions.0.group_norm", count)
    old = ("query", "key", "value", "proj_attn")
    for part in ("to_q", "to_k", "to_v", "to_out.0") if newer else old:
      add(f"{name}.attentions.0.{part}", count, count)

  last = len(channels) - 1
  add("encoder.conv_in", channels[0], 3, 3, 3)
  for i, count in enumerate(channels):
    for j in range(blocks):
      inputs = channels[max(i - 1, 0)] if j == 0 else count
      resnet(f"encoder.down_blocks.{i}.resnets.{j}", inputs, count)
    if i < last:
      add(f"encoder.down_blocks.{i}.downsamplers.0.conv", count, count, 3, 3)
  middle("encoder.mid_block", channels[-1])
  norm("encoder.conv_norm_out", channels[-1])
  add("encoder.conv_out", 2 * latent, channels[-1], 3, 3)
  add("quant_conv", 2 * latent, 2 * latent, 1, 1)
  add("post_quant_conv", latent, latent, 1, 1)
  add("decoder.conv_in", channels[-1], latent, 3, 3)
  middle("decoder.mid_block", channels[-1])
  for i, count in enumerate(channels[::-1]):
    for j in range(blocks + 1):
      inputs = channels[::-1][max(i - 1, 0)] if j == 0 else count
      resnet(f"decoder.up_blocks.{i}.resnets.{j}", inputs, count)
    if i < last:
      add(f"decoder.up_blocks.{i}.upsamplers.0.conv", count, count, 3, 3)
  norm("decoder.conv_norm_out", channels[0])
  add("decoder.conv_out", 3, channels[0], 3, 3)
  return found


class Twin:
  """AutoencoderKL in NumPy, float64, one image [c h w] at a time."""

  def __init__(self, tensors, groups):
    self.tensors = {name: np.float64(x) for name, x in tensors.items()}
    self.groups = groups

  def encode(self, x):
    """Mean and log variance."""
    x = self.conv("encoder.conv_in", x)
    x = self.levels("encoder.down_blocks", x)
    x = self.middle("encoder.mid_block", x)
    x = self.conv("encoder.conv_out", self.silu("encoder.conv_norm_out", x))
    return np.split(self.conv("quant_conv", x), 2)

  def decode(self, x):
    x = self.conv("decoder.conv_in", self.conv("post_quant_conv", x))
    x = self.middle("decoder.mid_block", x)
    x = self.levels("decoder.up_blocks", x)
    return self.conv("decoder.conv_out", self.silu("decoder.conv_norm_out", x))

  def levels(self, name, x):
    i = 0
    while f"{name}.{i}.resnets.0.conv1.weight" in self.tensors:
      j = 0
      while f"{name}.{i}.resnets.{j}.conv1.weight" in self.tensors:
        x = self.resnet(f"{name}.{i}.resnets.{j}", x)
        j += 1
      down, up = (
        f"{name}.{i}.downsamplers.0.conv",
        f"{name}.{i}.upsamplers.0.conv",
      )
      if f"{down}.weight" in self.tensors:
        x = self.conv(down, np.pad(x, ((0, 0), (0, 1), (0, 1))), 0)[:, ::2, ::2]
      if f"{up}.weight" in self.tensors:
        x = self.conv(up, x.repeat(2, 1).repeat(2, 2))
      i += 1
    return x

  def middle(self, name, x):
    x = self.attention(
      f"{name}.attentions.0", self.resnet(f"{name}.resnets.0", x)
    )
    return self.resnet(f"{name}.resnets.1", x)

  def resnet(self, name, x):
    y = self.conv(f"{name}.conv1", self.silu(f"{name}.norm1", x))
    y = self.conv(f"{name}.conv2", self.silu(f"{name}.norm2", y))
    short = f"{name}.conv_shortcut"
    return y + (self.conv(short, x) if f"{short}.weight" in self.tensors else x)

  def attention(self, name, x):
    cells = self.norm(f"{name}.group_norm", x).reshape(len(x), -1).T
    newer = f"{name}.to_q.weight" in self.tensors
    names = ("to_q", "to_k", "to_v", "to_out.0")
    names = names if newer else ("query", "key", "value", "proj_attn")
    q, k, v = (self.linear(f"{name}.{n}", cells) for n in names[:3])
    weights = np.exp(q @ k.T / np.sqrt(len(x)))
    y = (weights / weights.sum(1, keepdims=True)) @ v
    return x + self.linear(f"{name}.{names[3]}", y).T.reshape(x.shape)

  def linear(self, name, x):
    return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

  def silu(self, name, x):
    y = self.norm(name, x)
    return y / (1 + np.exp(-y))

  def norm(self, name, x):
    y = x.reshape(self.groups, -1)
    y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-6)
    weight, bias = (self.tensors[f"{name}.{n}"] for n in ("weight", "bias"))
    return y.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]

  def conv(self, name, x, pad=1):
    kernel = self.tensors[f"{name}.weight"]
    side = kernel.shape[-1]
    pad = pad if side == 3 else 0
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    h, w = (n - side + 1 for n in x.shape[1:])
    y = sum(
      np.einsum("oi,ihw->ohw", kernel[:, :, a, b], x[:, a : a + h, b : b + w])
      for a in range(side)
      for b in range(side)
    )
    return y + self.tensors[f"{name}.bias"][:, None, None]
