"""Reads checkpoints of ProtoPNet's own code (github.com/cfchen-duke/ProtoPNet).

That code pickles its whole module, of the class `model.PPNet`. The class of
each prototype is an attribute of the module, and is in no state dict.
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
from protojax.shown import shown
from protojax.types import UserError
from protojax.weights import prefixes, pytorch

_FEATURES, _ADD_ON = "features.", "add_on_layers."
_PROTOTYPES, _HEAD = "prototype_vectors", "last_layer.weight"
_CLASSES = "prototype_class_identity"
# `ones` is a convolution that sums over channels.
_KNOWN = (_PROTOTYPES, _HEAD, _CLASSES, "ones")

_MOST_PIXELS = 4096

# A tensor that only another system has -> that system. Its other tensors have
# the same names.
_OTHERS = {
  "prototype_vectors_support": "ST-ProtoPNet",
  "activation_weight": "EvalProtoPNet",
  "proto_presence": "ProtoPool",
}


def recognised(module: pytorch.Module) -> bool:
  """Whether a file is of ProtoPNet's code, or of code that was made from it."""
  return any(name in _tensors(module) for name in (_PROTOTYPES, *_OTHERS))


def read(module: pytorch.Module, image_size: int = 0) -> Classifier:
  """The classifier of a checkpoint: of the module itself, or its state dict.

  Args:
    module: the content of the file.
    image_size: side of an image in pixels; 0 takes that of the file.

  Raises:
    UserError: it is of another system, or tensors are missing or superfluous.
  """
  tensors = _tensors(module)
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
      "A state dict does not hold similarity, activation and size of images:"
      f" the logarithm, the sigmoid and {size} pixels are assumed"
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


def _tensors(module: pytorch.Module) -> dict[str, np.ndarray]:
  return prefixes.bare(module.tensors)


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
      "it is not a file of ProtoPNet's code (features, add_on_layers,"
      f" {_PROTOTYPES} [p d h w], {_HEAD} [k p]):"
      f" {', '.join(complaints[:20])}"
    )


def _class_of(
  prototypes: np.ndarray, head: np.ndarray
) -> tuple[np.ndarray, str]:
  """The class of each prototype, told by the head, and a note on it.

  At first each class has equally many prototypes, in turn. After pruning their
  number may still divide by the classes, so the head has to agree.

  Raises:
    UserError: the head does not decide between the two readings.
  """
  each, rest = divmod(len(prototypes), len(head))
  by_head = np.argmax(head, axis=0)
  by_pruning = (
    by_head,
    "A state dict does not hold the classes of prototypes, and some were"
    " pruned: each is assigned to the class that it speaks for the most.",
  )
  if rest:
    return by_pruning
  in_turn = np.arange(len(prototypes)) // each
  clear = _clear(head)
  differ = by_head != in_turn
  if not np.any(clear & differ) and 2 * np.sum(clear) >= len(clear):
    return (
      in_turn,
      f"A state dict does not hold the classes of prototypes: {each} of each"
      " class in turn are assumed, as at the start of ProtoPNet's code; the"
      " head agrees.",
    )
  # Pruning keeps the order.
  if np.all(clear) or (
    np.any(clear & differ) and np.all(np.diff(by_head) >= 0)
  ):
    return by_pruning
  first = int(np.argmax(differ if np.any(differ) else ~clear))
  raise UserError(
    f"its state dict does not tell the classes of its {len(prototypes)}"
    f" prototypes: in turn, {each} of each class, if none was pruned; by the"
    f" largest weight in {_HEAD}, they differ for {np.sum(differ)} (prototype"
    f" {first}: class {in_turn[first]} or {by_head[first]}), and the weights of"
    f" {np.sum(~clear)} are not clear. Import the module that ProtoPNet's code"
    f" saves whole: it holds {_CLASSES}"
  )


def _clear(head: np.ndarray) -> np.ndarray:
  """Whether each prototype speaks for one class at least twice as much."""
  *_, second, most = np.sort(
    np.concatenate([np.zeros((2, head.shape[1])), head]), axis=0
  )
  return (most > 0) & (second <= most / 2)


def _image_size(attributes: Mapping[str, Any]) -> int:
  size = attributes.get("img_size", IMAGE_SIZE)
  if not isinstance(size, int) or not 1 <= size <= _MOST_PIXELS:
    raise UserError(f"its img_size is {shown(size)}, not a number of pixels")
  return size


def _activation(kinds: Mapping[str, str]) -> str:
  """The activation after the add-on's last convolution."""
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
    f"its add-on is {', '.join([*before, last])}; only convolutions and ReLU"
    " can be read, and a Sigmoid at the end"
  )


def _similarity(module: pytorch.Module) -> str:
  name = module.attributes.get("prototype_activation_function", "log")
  if module.kinds and "prototype_activation_function" not in module.attributes:
    name = "a function of its own"
  if name not in ("log", "linear"):
    raise UserError(
      f"its prototype_activation_function is {name}; 'log' and 'linear' can be"
      " read"
    )
  return name
