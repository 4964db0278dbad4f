"""Weights computed from their names, and small networks to put them into.

The goldens of `test_goldens.py` hold for these; `test_torch.py` puts the same
weights into the networks of torchvision, timm and open_clip.
"""

import dataclasses
from typing import NamedTuple
import zlib

from flax import traverse_util
import numpy as np

from protojax import backbones
from protojax.backbones.convnext import ConvNeXt
from protojax.backbones.densenet import DenseNet
from protojax.backbones.resnet import ResNet
from protojax.backbones.vit import ViT
from protojax.weights import reading
from protojax.weights.naming import Layout


class Net(NamedTuple):
  """A network to test with.

  `shapes` are those of the tensors whose variables have others.
  """

  backbone: backbones.Backbone
  image_size: int
  layout: Layout
  shapes: dict[str, tuple[int, ...]]

  def checkpoint(self):
    return checkpoint(self.backbone, self.layout, self.shapes)


def net(name, image_size, module=None, layout=0, **shapes):
  """The backbone of that name, or a smaller module of its class."""
  backbone = backbones.load(name)
  if module is not None:
    backbone = dataclasses.replace(backbone, module=module)
  return Net(backbone, image_size, backbone.layouts[layout], shapes)


# Sizes of images are chosen so that matmuls have 32 rows or more: XLA compiles
# smaller ones for seconds.
NETS = {
  "resnet18": net("resnet18", 128),
  # Bottlenecks, the last two stages dilated.
  "resnet_stride8": net("resnet50_stride8", 64, ResNet((1, 1, 2, 2), True, 8)),
  "vgg11": net("vgg11", 64),
  "vgg11_bn": net("vgg11_bn", 64),
  "densenet": net("densenet121", 64, DenseNet((1, 2, 2, 2), 8, 16)),
  "convnext": net("convnext_tiny", 64, ConvNeXt((1, 1, 2, 1), 16)),
  # Positions of 4 x 4 patches, resampled to 6 x 6.
  "vit": net(
    "vit_small_patch16",
    96,
    ViT(64, 2, 4, 16, 4),
    cls_token=(1, 1, 64),
    pos_embed=(1, 17, 64),
  ),
  "dinov2": net(
    "dinov2_small",
    96,
    ViT(64, 2, 4, 16, 6, registers=4, layer_scale=True),
    cls_token=(1, 1, 64),
    pos_embed=(1, 36, 64),
    reg_token=(1, 4, 64),
  ),
  "clip": net(
    "clip_base_patch32",
    96,
    ViT(64, 2, 4, 16, 6, clip=True),
    layout=1,
    class_embedding=(64,),
    positional_embedding=(37, 64),
  ),
}


def uniform(name, count):
  """Numbers in -1..1 that depend on a name and their index alone."""
  x = np.arange(count, dtype=np.uint64) * 2654435761 + zlib.crc32(name.encode())
  for _ in range(2):  # Multiplying and shifting mixes the bits.
    x = (x ^ (x >> 16)) * 73244475 % 2**32
  return np.float32((x / 2**31) - 1)


def tensor(name, shape):
  """A tensor of PyTorch's, scaled so that maps neither vanish nor explode."""
  x = uniform(name, int(np.prod(shape))).reshape(shape)
  if name.endswith("running_var"):
    return 1 + x / 2
  if len(shape) > 1 and name.endswith("weight"):
    return x * np.float32((3 / np.prod(shape[1:])) ** 0.5)
  if name.endswith(("weight", "gamma", "layer_scale")):
    return 1 + x / 4
  return x / 4


def images(size):
  """One image, channels last."""
  return 2 * uniform("image", size * size * 3).reshape(1, size, size, 3)


def checkpoint(backbone, layout, shapes=()):
  """The tensors of a network by their names in one of its layouts."""
  shapes, tensors = dict(shapes), {}
  template = traverse_util.flatten_dict(reading.shapes(backbone.module))
  for path, leaf in template.items():
    name, shape = layout.foreign_name(path), leaf.shape
    if path[-1] == "kernel":
      shape = (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape[::-1]
    elif name.endswith("layer_scale"):
      shape = (*shape, 1, 1)
    tensors[name] = tensor(name, shapes.get(name, shape))
  return tensors
