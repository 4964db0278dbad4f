"""Turns a prototype classifier that others saved into a config and a state.

The readers of this package fill a `Classifier` with the arrays of a file. Then
`settings` gives the config of our network, and `state` its state.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from protojax.backbones.backbone import Backbone
from protojax.engine import adopt
from protojax.prototypes.bank import Provenance, bank_params
from protojax.prototypes.foreign_parts import (
  Convolution,
  add_on_kind,
  add_on_params,
)
from protojax.types import PyTree, State


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
  add_on: Sequence[Convolution]
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
      "add_on": add_on_params(found.add_on),
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
  return adopt.fitted(filled, template)


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
  """The array with so many rows of zeros after it."""
  return np.pad(array, ((0, rows), *[(0, 0)] * (array.ndim - 1)))


def _too_few(found: Classifier) -> np.ndarray:
  """Classes with too few prototypes, once for each missing prototype."""
  counts = np.bincount(found.class_of, minlength=found.classes)
  return np.repeat(
    np.arange(found.classes), np.maximum(found.per_class - counts, 0)
  )
