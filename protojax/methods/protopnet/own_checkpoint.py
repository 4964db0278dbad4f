"""Reads checkpoints of ProtoPNet's own code (github.com/cfchen-duke/ProtoPNet).

That code pickles its whole module, of the class `model.PPNet`. The class of
each prototype is an attribute of the module, and is in no state dict.
"""

from collections.abc import Mapping

import numpy as np

from protojax.backbones import recognition
from protojax.methods.protopnet.foreign_state import Classifier
from protojax.prototypes import foreign_parts
from protojax.types import UserError
from protojax.weights import prefixes, pytorch

_FEATURES, _ADD_ON = "features.", "add_on_layers."
_PROTOTYPES, _HEAD = "prototype_vectors", "last_layer.weight"
_CLASSES = "prototype_class_identity"
# `ones` is a convolution that sums over channels.
_KNOWN = (_PROTOTYPES, _HEAD, _CLASSES, "ones")

# A tensor that only another system has -> that system. Its other tensors have
# the same names.
_OTHERS = {"proto_presence": "ProtoPool"}


def recognised(module: pytorch.Module) -> bool:
  """Whether a file is of ProtoPNet's code, or of code that was made from it."""
  found = _tensors(module)
  # ProtoSeg's and ScaleProtoSeg's code was, too, and is no classifier.
  dense = any(name.startswith("features.base.aspp.") for name in found)
  return not dense and any(name in found for name in (_PROTOTYPES, *_OTHERS))


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
  foreign_parts.check(prototypes, head, tensors.get(_CLASSES))
  notes = []
  if _CLASSES in tensors:
    class_of = np.argmax(tensors[_CLASSES], axis=1)
  else:
    class_of, note = foreign_parts.classes_by_head(
      prototypes, head, (_HEAD, _CLASSES)
    )
    notes.append(note)
  size = image_size or foreign_parts.image_size(module.attributes)
  if not module.kinds:
    notes.append(
      "A state dict does not hold similarity, activation and size of images:"
      f" the logarithm, the sigmoid and {size} pixels are assumed"
      " (--image-size)."
    )
  features = foreign_parts.below(tensors, _FEATURES)
  return Classifier(
    backbone=recognition.name_of(features),
    features=features,
    add_on=foreign_parts.convolutions(tensors, _ADD_ON),
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


def _activation(kinds: Mapping[str, str]) -> str:
  """The activation after the add-on's last convolution."""
  layers = foreign_parts.layer_kinds(kinds, _ADD_ON)
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
