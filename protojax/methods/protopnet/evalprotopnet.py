"""Reads checkpoints of EvalProtoPNet (github.com/hqhQAQ/EvalProtoPNet).

Huang et al., *Evaluation and Improvement of Interpretability for
Self-Explainable Part-Prototype Networks*, ICCV 2023. Its network is a ProtoPNet
with three differences:

- Similarity is the length of a patch along a prototype of length one.
- Score aggregation stands for the last layer: the logit of a class is the sum
  of its M prototypes' similarities, each times M times its share in the softmax
  of M learned numbers. That is a head whose weights are 0 off the class.
- Shallow-deep feature alignment is a loss: it shapes the weights, and the
  forward pass has nothing of it.
"""

from collections.abc import Mapping

import numpy as np

from protojax.backbones import recognition
from protojax.methods.protopnet.foreign_state import Classifier
from protojax.prototypes import foreign_parts
from protojax.shown import shown
from protojax.types import UserError
from protojax.weights import prefixes, pytorch

_FEATURES, _ADD_ON = "features.", "add_on_layers."
_PROTOTYPES, _WEIGHT = "prototype_vectors", "activation_weight"
_CLASSES = "prototype_class_identity"
_NEEDED = (_PROTOTYPES, _WEIGHT)
_KNOWN = (*_NEEDED, _CLASSES, "ones")

# What the training script saves beside the state dict.
_COUNT, _SIDE = "args.nb_classes", "args.input_size"
# The same in a module that was saved whole.
_MODULES_COUNT, _MODULES_SIDE = "num_classes", "img_size"

_ALIGNMENT = (
  "Its score aggregation becomes the weights of the head. Shallow-deep feature"
  " alignment is a loss of its code: training here goes on without it."
)


def recognised(module: pytorch.Module) -> bool:
  """Whether a file is of EvalProtoPNet's code."""
  return _WEIGHT in prefixes.bare(module.tensors)


def read(module: pytorch.Module, image_size: int = 0) -> Classifier:
  """The classifier of a checkpoint, of a module or of its state dict.

  Args:
    module: the content of the file.
    image_size: side of an image in pixels; 0 takes that of the file.

  Raises:
    UserError: tensors are missing or superfluous, or the file does not tell
      the number of classes.
  """
  tensors = prefixes.bare(module.tensors)
  _check(tensors)
  prototypes, weight = tensors[_PROTOTYPES], tensors[_WEIGHT]
  classes = _classes(module, len(prototypes))
  head = _head(weight, classes)
  foreign_parts.check(prototypes, head, tensors.get(_CLASSES))
  if prototypes.shape[2:] != (1, 1):
    raise UserError(
      f"its prototypes have the shape {prototypes.shape}; only those of one"
      " cell, [p d 1 1], can be read"
    )
  notes = [_ALIGNMENT]
  name = _MODULES_SIDE if module.kinds else _SIDE
  size = image_size or foreign_parts.image_size(module.attributes, name)
  if not image_size and name not in module.attributes:
    notes.append(
      f"The size of images is unknown: {size} pixels are assumed"
      " (--image-size)."
    )
  features = foreign_parts.below(tensors, _FEATURES)
  return Classifier(
    backbone=recognition.name_of(features),
    features=features,
    add_on=foreign_parts.convolutions(tensors, _ADD_ON),
    activation=_activation(module.kinds),
    prototypes=_unit(prototypes),
    head=head,
    class_of=np.repeat(
      np.arange(classes, dtype=np.int32), len(prototypes) // classes
    ),
    alive=np.ones(len(prototypes), bool),
    similarity="projection",
    image_size=size,
    notes=tuple(notes),
  )


def _check(tensors: Mapping[str, np.ndarray]) -> None:
  complaints = [f"missing {name}" for name in _NEEDED if name not in tensors]
  complaints += [
    f"superfluous {name}"
    for name in tensors
    if not name.startswith((_FEATURES, _ADD_ON)) and name not in _KNOWN
  ]
  if not complaints:
    prototypes, weight = tensors[_PROTOTYPES], tensors[_WEIGHT]
    if prototypes.ndim == 4 and weight.shape == prototypes.shape[:1]:
      return
    complaints = [f"{_PROTOTYPES} {prototypes.shape}, {_WEIGHT} {weight.shape}"]
  raise UserError(
    "it is not a file of EvalProtoPNet's code (features, add_on_layers,"
    f" {_PROTOTYPES} [p d 1 1], {_WEIGHT} [p]): {', '.join(complaints[:20])}"
  )


def _classes(module: pytorch.Module, prototypes: int) -> int:
  """The number of classes, of which each has equally many prototypes in turn.

  No tensor of a state dict has an axis of classes.
  """
  name = _MODULES_COUNT if module.kinds else _COUNT
  classes = module.attributes.get(name)
  if classes is None:
    raise UserError(
      "it does not tell the number of classes; import the file that"
      f" EvalProtoPNet's main.py saves, which has {_COUNT} beside the state"
      " dict, or the module saved whole, torch.save(model, FILE)"
    )
  if type(classes) is not int or classes < 1 or prototypes % classes:
    raise UserError(
      f"its {prototypes} prototypes do not divide over {shown(classes)}"
      f" classes ({name})"
    )
  return classes


def _head(weight: np.ndarray, classes: int) -> np.ndarray:
  """Weights [k p]: M times the softmax over the M prototypes of a class."""
  rows = np.float64(weight).reshape(classes, -1)
  shares = np.exp(rows - rows.max(axis=1, keepdims=True))
  shares *= rows.shape[1] / shares.sum(axis=1, keepdims=True)
  own = np.eye(classes)[:, :, None] * shares[None]
  return own.reshape(classes, -1).astype(np.float32)


def _unit(prototypes: np.ndarray) -> np.ndarray:
  """At length one, at which they are compared; a zero vector stays."""
  wide = np.float64(prototypes)
  lengths = np.linalg.norm(wide, axis=1, keepdims=True)
  return (wide / np.maximum(lengths, 1e-12)).astype(np.float32)


def _activation(kinds: Mapping[str, str]) -> str:
  """The activation after the add-on's last convolution, always a sigmoid."""
  layers = foreign_parts.layer_kinds(kinds, _ADD_ON)
  if set(layers[:-1]) <= {"Conv2d", "ReLU"} and layers[-1:] in (
    [],
    ["Sigmoid"],
  ):
    return "sigmoid"
  raise UserError(
    f"its add-on is {', '.join(layers)}; only convolutions and ReLU can be"
    " read, and a Sigmoid at the end"
  )
