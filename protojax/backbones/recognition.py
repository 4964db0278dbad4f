"""Tells which backbone the tensors of a foreign checkpoint are of."""

from collections.abc import Mapping

import numpy as np

from protojax import backbones
from protojax.types import UserError


def name_of(tensors: Mapping[str, np.ndarray]) -> str:
  """Our name of the network that has these tensors in torchvision.

  The depth in a name counts layers with weights: the convolutions, and the one
  layer of the classifier (three in a VGG).

  Args:
    tensors: of the backbone alone, by their names in torchvision.

  Raises:
    UserError: it is none of ours.
  """
  convolutions = sum(
    array.ndim == 4 and "downsample" not in name
    for name, array in tensors.items()
  )
  if any(".denselayer1." in name for name in tensors):
    name = f"densenet{convolutions + 1}"
  elif "layer1.0.conv1.weight" in tensors:
    name = f"resnet{convolutions + 1}"
  elif "features.0.weight" in tensors:
    norm = any(name.endswith("running_mean") for name in tensors)
    name = f"vgg{convolutions + 3}{'_bn' if norm else ''}"
  else:
    first = ", ".join(sorted(tensors)[:3]) or "there are none"
    raise UserError(
      "its backbone is no ResNet, VGG or DenseNet by the names of its tensors"
      f" ({first:.200}...)"
    )
  if name not in backbones.names():
    raise UserError(f"its backbone would be a {name}, which is not known")
  return name
