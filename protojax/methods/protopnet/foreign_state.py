"""A prototype classifier as others saved it, and the state it becomes here.

The readers of this package fill a `Classifier` with arrays as the files have
them; `settings` and `state` say how ours is configured and filled.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import re
from typing import Any

import jax
import numpy as np

from protojax import backbones, parallel
from protojax.backbones.backbone import Backbone
from protojax.engine import checkpoint
from protojax.prototypes import push
from protojax.prototypes.layer import KINDS, AddOn
from protojax.types import PyTree, State, UserError

# Pixels of an image where nothing says how many: what ImageNet is seen at.
IMAGE_SIZE = 224


@dataclasses.dataclass(frozen=True)
class Classifier:
  """Backbone, add-on, prototypes and head; arrays in PyTorch's order of axes.

  Attributes:
    backbone: our name of it.
    features: its tensors, by their names in the library it came from.
    add_on: weight [out, in, 1, 1] and bias [out] of each 1x1 convolution.
    activation: what follows the last of them, "sigmoid" or "none".
    prototypes: [p, d, h1, w1].
    head: [k, p].
    class_of: int32 [p], the class of each prototype.
    alive: bool [p], False for prototypes that take no part.
    similarity: our name of it.
    image_size: side of an image in pixels.
    notes: what was assumed, in sentences.
  """

  backbone: str
  features: Mapping[str, np.ndarray]
  add_on: Sequence[tuple[np.ndarray, np.ndarray]]
  activation: str
  prototypes: np.ndarray
  head: np.ndarray
  class_of: np.ndarray
  alive: np.ndarray
  similarity: str
  image_size: int
  notes: tuple[str, ...] = ()

  @property
  def classes(self) -> int:
    """k, the number of classes."""
    return len(self.head)

  @property
  def per_class(self) -> int:
    """Prototypes of a class in a state, which has as many of each."""
    return -(-len(self.prototypes) // self.classes)


def backbone_name(tensors: Mapping[str, np.ndarray]) -> str:
  """Our name of the network that tensors of torchvision are of.

  A depth counts the layers with weights: the convolutions and the classifier,
  one layer or, in a VGG, three.

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


def convolutions(
  tensors: Mapping[str, np.ndarray], prefix: str
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Weight and bias of the convolutions below a prefix, in order.

  Tensors come in the order of their modules; a bias that there is not is 0.
  """
  found = []
  for name, weight in tensors.items():
    if re.fullmatch(rf"{re.escape(prefix)}[^.]+\.weight", name):
      bias = tensors.get(f"{name.removesuffix('weight')}bias")
      found.append((weight, np.zeros(len(weight)) if bias is None else bias))
  return found


def check(
  prototypes: np.ndarray, head: np.ndarray, class_map: np.ndarray | None
) -> None:
  """That prototypes [p d h w], head [k p] and classes [p k] go together.

  Raises:
    UserError: gives their shapes.
  """
  count = len(prototypes) if prototypes.ndim == 4 else 0
  classes = len(head) if head.ndim else 0
  if not (
    prototypes.size
    and head.size
    and head.shape == (classes, count)
    and (class_map is None or class_map.shape == (count, classes))
  ):
    of_map = "" if class_map is None else f", classes {class_map.shape}"
    raise UserError(
      f"prototypes {prototypes.shape}, head {head.shape}{of_map} do not go"
      " together; [p d h w], [k p] and [p k] are expected"
    )


def settings(found: Classifier) -> dict[str, Any]:
  """Keys of ProtoPNet's config that the checkpoint decides, and their values.

  Raises:
    UserError: the add-on is none of ours.
  """
  channels, height, width = found.prototypes.shape[1:]
  return {
    "method": "protopnet",
    "data.image_size": found.image_size,
    "backbone.name": found.backbone,
    "backbone.pretrained": False,
    "backbone.weights": "",
    "prototypes.per_class": found.per_class,
    "prototypes.channels": channels,
    "prototypes.height": height,
    "prototypes.width": width,
    "prototypes.similarity": found.similarity,
    "prototypes.add_on": add_on_kind(
      [weight.shape for weight, _ in found.add_on], channels
    ),
    "prototypes.activation": found.activation,
    "prototypes.standardise": False,
    "prototypes.patches": False,
  }


def add_on_kind(shapes: Sequence[tuple[int, ...]], channels: int) -> str:
  """Our name of an add-on by its kernels [out, in, 1, 1].

  Raises:
    UserError: it is none of ours.
  """
  if shapes and all(shape[2:] == (1, 1) for shape in shapes):
    widths = [shape[0] for shape in shapes]
    for kind in KINDS:
      if AddOn(channels, kind).widths(shapes[0][1]) == widths:
        return kind
  raise UserError(
    f"its add-on has convolutions of shapes {list(shapes)}; those of a"
    f" {' or '.join(KINDS)} add-on to {channels} channels are read"
  )


def state(found: Classifier, template: PyTree, backbone: Backbone) -> State:
  """The state with these weights; its prototypes have no known source.

  Where classes have unlike numbers of prototypes, after pruning, dead ones
  fill up; those of the checkpoint keep their numbers.

  Args:
    found: what was read.
    template: the state as shapes.
    backbone: of the name `found.backbone`.

  Raises:
    UserError: the arrays do not fit the template.
  """
  converted = dict(backbone.convert(found.features))
  total = found.per_class * found.classes
  missing = total - len(found.prototypes)
  filled = State(
    params={
      "backbone": converted.pop("params"),
      "add_on": {
        f"Dense_{i}": {"kernel": weight[:, :, 0, 0].T, "bias": bias}
        for i, (weight, bias) in enumerate(found.add_on)
      },
      "prototypes": {
        "prototypes": _padded(found.prototypes.transpose(0, 2, 3, 1), missing)
      },
      "head": {"weight": _padded(found.head.T, missing).T},
    },
    statistics={
      "backbone": converted,
      "shift": np.zeros(backbone.channels),
      "scale": np.ones(backbone.channels),
    },
    buffers={
      "class_of": np.concatenate([found.class_of, _too_few(found)[:missing]]),
      "alive": _padded(found.alive, missing),
      "provenance": push.Provenance.empty(total),
    },
  )
  arrays = checkpoint.flatten(filled)
  fitting = checkpoint.unflatten(template, arrays)
  return parallel.to_host(
    jax.tree.map(lambda x, like: np.array(x, like.dtype), fitting, template)
  )


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
  """The array with so many rows of zeros after it."""
  return np.pad(array, ((0, rows), *[(0, 0)] * (array.ndim - 1)))


def _too_few(found: Classifier) -> np.ndarray:
  """Classes with less than their share of prototypes, once for each."""
  counts = np.bincount(found.class_of, minlength=found.classes)
  return np.repeat(
    np.arange(found.classes), np.maximum(found.per_class - counts, 0)
  )
