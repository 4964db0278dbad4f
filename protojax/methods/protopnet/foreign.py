"""Reads checkpoints of ProtoPNet's own code (github.com/cfchen-duke/ProtoPNet).

It saves its whole module, a pickle of the class `model.PPNet`; the class of
each prototype is an attribute there, and in no state dict.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from protojax.methods.protopnet.foreign_state import (
  IMAGE_SIZE,
  Classifier,
  backbone_name,
  check,
  convolutions,
)
from protojax.types import UserError
from protojax.weights import pytorch

_FEATURES, _ADD_ON = "features.", "add_on_layers."
_PROTOTYPES, _HEAD = "prototype_vectors", "last_layer.weight"
_CLASSES = "prototype_class_identity"
# `ones` sums over channels, as a convolution.
_KNOWN = (_PROTOTYPES, _HEAD, _CLASSES, "ones")

_MOST_PIXELS = 4096

# A tensor that tells of another system whose parts have the same names.
_OTHERS = {
  "prototype_vectors_support": "ST-ProtoPNet",
  "activation_weight": "EvalProtoPNet",
  "proto_presence": "ProtoPool",
}


def read(module: pytorch.Module, image_size: int = 0) -> Classifier:
  """What a checkpoint says: the module itself, or its state dict.

  Args:
    module: what the file holds.
    image_size: side of an image in pixels, where it is not what the file says.

  Raises:
    UserError: it is of another system, or tensors are missing or superfluous.
  """
  # What DataParallel puts before every name.
  tensors = {k.removeprefix("module."): x for k, x in module.tensors.items()}
  _check(tensors)
  prototypes, head = tensors[_PROTOTYPES], tensors[_HEAD]
  check(prototypes, head, tensors.get(_CLASSES))
  notes = []
  if _CLASSES in tensors:
    class_of = np.argmax(tensors[_CLASSES], axis=1)
  else:
    class_of, note = _class_of(prototypes, head)
    notes.append(note)
  size = image_size or _image_size(module.attributes)
  if not module.kinds:
    notes.append(
      "A state dict does not say what similarity and activation were, nor how"
      f" large images: the logarithm, the sigmoid and {size} pixels are assumed"
      " (--image-size)."
    )
  features = {
    name.removeprefix(_FEATURES): x
    for name, x in tensors.items()
    if name.startswith(_FEATURES)
  }
  return Classifier(
    backbone=backbone_name(features),
    features=features,
    add_on=convolutions(tensors, _ADD_ON),
    activation=_activation(module.kinds),
    prototypes=prototypes,
    head=head,
    class_of=class_of.astype(np.int32),
    alive=np.ones(len(prototypes), bool),
    similarity=_similarity(module),
    image_size=size,
    notes=tuple(notes),
  )


def _check(tensors: Mapping[str, np.ndarray]) -> None:
  for name, system in _OTHERS.items():
    if name in tensors:
      raise UserError(f"it is of {system}, which is not imported yet")
  complaints = [
    f"missing {name}" for name in (_PROTOTYPES, _HEAD) if name not in tensors
  ] + [
    f"superfluous {name}"
    for name in tensors
    if not name.startswith((_FEATURES, _ADD_ON)) and name not in _KNOWN
  ]
  if complaints:
    raise UserError(
      "it is not what ProtoPNet saves (features, add_on_layers,"
      f" {_PROTOTYPES} [p d h w], {_HEAD} [k p]):"
      f" {', '.join(complaints[:20])}"
    )


def _class_of(
  prototypes: np.ndarray, head: np.ndarray
) -> tuple[np.ndarray, str]:
  """The class of each prototype by the head, and a note that says so."""
  each, rest = divmod(len(prototypes), len(head))
  if not rest:
    return (
      np.arange(len(prototypes)) // each,
      f"A state dict does not hold the classes of prototypes: {each} of each"
      " class in turn, as ProtoPNet begins, are assumed.",
    )
  return (
    np.argmax(head, axis=0),
    "A state dict does not hold the classes of prototypes, and some were"
    " pruned: each is taken to be of the class it speaks for the most.",
  )


def _image_size(attributes: Mapping[str, Any]) -> int:
  size = attributes.get("img_size", IMAGE_SIZE)
  if not isinstance(size, int) or not 1 <= size <= _MOST_PIXELS:
    raise UserError(f"its img_size is {size!r:.80}, not a number of pixels")
  return size


def _activation(kinds: Mapping[str, str]) -> str:
  """What follows the last convolution of the add-on."""
  layers = [
    kind.rpartition(".")[2]
    for name, kind in kinds.items()
    if name.startswith(_ADD_ON)
  ]
  if not layers:
    return "sigmoid"
  *before, last = layers
  if set(before) <= {"Conv2d", "ReLU"} and last in ("Sigmoid", "Conv2d"):
    return "sigmoid" if last == "Sigmoid" else "none"
  raise UserError(
    f"its add-on is {', '.join([*before, last])}; convolutions and ReLU are"
    " read, and a Sigmoid at the end"
  )


def _similarity(module: pytorch.Module) -> str:
  name = module.attributes.get("prototype_activation_function", "log")
  if module.kinds and "prototype_activation_function" not in module.attributes:
    name = "a function of its own"
  if name not in ("log", "linear"):
    raise UserError(
      f"its prototype_activation_function is {name}; 'log' and 'linear' are"
      " read"
    )
  return name
