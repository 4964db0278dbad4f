"""Turns a prototype classifier that others saved into a config and a state.

The readers of this package fill a `Classifier` with the arrays of a file. Then
`settings` gives the config of our network, and `state` its state.
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
from protojax.prototypes.bank import Provenance, bank_params
from protojax.prototypes.layer import KINDS, AddOn
from protojax.types import PyTree, State, UserError

# Side of an image in pixels if it is unknown: the usual one for ImageNet.
IMAGE_SIZE = 224


@dataclasses.dataclass(frozen=True)
class Classifier:
  """Backbone, add-on, prototypes and head; arrays in PyTorch's order of axes.

  Attributes:
    backbone: our name of the backbone.
    features: tensors of the backbone, by their names in its library.
    add_on: weight [out, in, 1, 1] and bias [out] of each 1x1 convolution.
    activation: after the last convolution, "sigmoid" or "none".
    prototypes: [p, d, h1, w1].
    head: [k, p].
    class_of: int32 [p], the class of each prototype.
    alive: bool [p], False for prototypes that do not count.
    similarity: our name of the similarity.
    image_size: side of an image in pixels.
    notes: assumptions that were made, as sentences.
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
    """Prototypes of each class in our state, where all have equally many."""
    return -(-len(self.prototypes) // self.classes)


def backbone_name(tensors: Mapping[str, np.ndarray]) -> str:
  """Our name of the network that has these tensors in torchvision.

  The depth in a name counts layers with weights: the convolutions, and the one
  layer of the classifier (three in a VGG).

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

  Tensors come in the order of their modules; a missing bias is 0.
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
  """Checks that prototypes [p d h w], head [k p] and classes [p k] fit.

  Raises:
    UserError: they do not fit together; gives their shapes.
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
      f"prototypes {prototypes.shape}, head {head.shape}{of_map} do not fit"
      " together; [p d h w], [k p] and [p k] are expected"
    )


def described(found: Classifier) -> str:
  """Backbone and sizes, for messages."""
  return (
    f"{found.backbone} with {len(found.prototypes)} prototypes of"
    f" {found.classes} classes, images of {found.image_size} pixels"
  )


def settings(found: Classifier) -> dict[str, Any]:
  """Keys of ProtoPNet's config that follow from the checkpoint -> values.

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
    f"its add-on has convolutions of shapes {list(shapes)}; only those of a"
    f" {' or '.join(KINDS)} add-on to {channels} channels can be read"
  )


def state(found: Classifier, template: PyTree, backbone: Backbone) -> State:
  """The state with these weights; its prototypes have no known provenance.

  If classes have different numbers of prototypes, after pruning, dead ones are
  added at the end, so that the others keep their numbers.

  Args:
    found: the classifier that was read.
    template: the state as shapes.
    backbone: the one named `found.backbone`.

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
      "prototypes": bank_params(
        _padded(found.prototypes.transpose(0, 2, 3, 1), missing)
      ),
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
      "provenance": Provenance.empty(total),
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
  """Classes with too few prototypes, once for each missing prototype."""
  counts = np.bincount(found.class_of, minlength=found.classes)
  return np.repeat(
    np.arange(found.classes), np.maximum(found.per_class - counts, 0)
  )
