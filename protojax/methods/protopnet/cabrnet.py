"""Reads ProtoPNets of CaBRNet (github.com/aiser-team/cabrnet): weights + YAML.

The state dict holds all tensors. `model_arch.yml` beside it holds the rest:
the last layer of the backbone, the activations, and the similarity.
"""

from collections.abc import Mapping

import numpy as np

from protojax.backbones import recognition
from protojax.methods.protopnet.foreign_state import Classifier
from protojax.prototypes.foreign_parts import (
  IMAGE_SIZE,
  below,
  check,
  convolutions,
)
from protojax.shown import shown
from protojax.types import UserError
from protojax.weights.yaml_keys import Keys

_FEATURES, _ADD_ON = "extractor.convnet.", "extractor.add_on."
_PROTOTYPES, _HEAD = "classifier.prototypes", "classifier.last_layer.weight"
_CLASSES = "classifier.proto_class_map"
# A convolution that sums over channels.
_ONES = "classifier.similarity_layer._summation_kernel"

# The last layer of our backbones, in torchvision's names.
_ENDS = {"resnet": "layer4", "vgg": "features", "densenet": "relu"}
_SIMILARITIES = {
  "LegacyProtoPNetSimilarity": "log",
  "ProtoPNetSimilarity": "log",
  "CosineSimilarity": "cosine",
}
# Keeps the logarithm finite; the same as `similarity.EPSILON`.
_STABILITY = 1e-4


def recognised(tensors: Mapping[str, np.ndarray]) -> bool:
  """Whether a state dict has CaBRNet's names."""
  return any(name.startswith("extractor.convnet.") for name in tensors)


def read(
  tensors: Mapping[str, np.ndarray], arch: Keys, image_size: int
) -> Classifier:
  """The classifier of a state dict and its model_arch.yml.

  Args:
    tensors: of the state dict, by name.
    arch: keys of the file.
    image_size: side of an image in pixels; 0 if unknown.

  Raises:
    UserError: it is another architecture, or has a layer that we do not have.
  """
  _check_names(tensors)
  prototypes, head = tensors[_PROTOTYPES], tensors[_HEAD]
  class_map = tensors[_CLASSES]
  check(prototypes, head, class_map)
  features = below(tensors, _FEATURES)
  backbone = recognition.name_of(features)
  check_architecture(arch, backbone)
  # A disabled prototype has no class any more. But later training may give it
  # weights, and those count.
  disabled = ~np.any(class_map, axis=1)
  silent = disabled & ~np.any(head, axis=0)
  class_of = np.argmax(np.where(disabled[:, None], head.T, class_map), axis=1)
  notes = []
  if np.any(disabled & ~silent):
    notes.append(
      f"{np.sum(disabled & ~silent)} disabled prototypes have weights, so they"
      " stay: each is assigned to the class that it speaks for the most."
    )
  if not image_size:
    notes.append(
      f"The size of images is unknown: {IMAGE_SIZE} pixels are assumed"
      " (--image-size)."
    )
  return Classifier(
    backbone=backbone,
    features=features,
    add_on=convolutions(tensors, _ADD_ON),
    activation=activation(arch),
    prototypes=prototypes,
    head=head,
    class_of=class_of.astype(np.int32),
    alive=~silent,
    similarity=similarity(arch),
    image_size=image_size or IMAGE_SIZE,
    notes=tuple(notes),
  )


def _check_names(tensors: Mapping[str, np.ndarray]) -> None:
  needed = (_PROTOTYPES, _HEAD, _CLASSES)
  complaints = [f"missing {name}" for name in needed if name not in tensors] + [
    f"superfluous {name}"
    for name in tensors
    if not name.startswith((_FEATURES, _ADD_ON))
    and name not in (*needed, _ONES)
  ]
  if complaints:
    raise UserError(
      f"it is not a ProtoPNet that CaBRNet saved: {', '.join(complaints[:20])}"
    )


def check_architecture(arch: Keys, backbone: str) -> None:
  """Checks that architecture and backbone are ones that we have.

  Raises:
    UserError: one is not, or the backbone has another last layer or is changed.
  """
  for key, known in (
    ("top_arch.name", "ProtoPNet"),
    ("classifier.name", "ProtoPNetClassifier"),
  ):
    name = arch.take(key, known)
    if name != known:
      raise UserError(f"{key} is {shown(name)}; only {known} can be read")
  ends = [end for kind, end in _ENDS.items() if backbone.startswith(kind)]
  own = f"{pipeline(arch)}source_layer"
  cut = str(arch.take(own, arch.take("extractor.backbone.layer")))
  if cut not in ends:
    raise UserError(
      f"the backbone is cut after its layer {shown(cut)}; our {backbone} ends"
      f" with {' '.join(ends) or 'another'}"
    )
  changes = [
    *arch.below("extractor.backbone.postprocess"),
    *arch.below("extractor.backbone.params"),
  ]
  if changes:
    raise UserError(f"{', '.join(changes)}: a changed backbone cannot be read")


def similarity(arch: Keys) -> str:
  """Our name of the similarity.

  Raises:
    UserError: it is none of ours.
  """
  # Files without the key are from before there was a choice.
  name = str(arch.take("similarity.name", "ProtoPNetSimilarity"))
  given = arch.take("similarity.params.stability_factor")
  known = _SIMILARITIES.get(name)
  if known is None or (known == "log" and given not in (None, _STABILITY)):
    raise UserError(
      f"similarity.name is {shown(name)} with stability_factor {shown(given)};"
      f" only {', '.join(_SIMILARITIES)} can be read, with {_STABILITY} in a"
      " logarithm"
    )
  return known


def activation(arch: Keys) -> str:
  """The activation after the add-on's last convolution: "sigmoid" or "none".

  Raises:
    UserError: the add-on has other layers than convolutions, ReLU, and a
      Sigmoid at the end.
  """
  kinds = [str(arch.take(f"{path}.type")) for path in layers(arch)]
  ends = {"Conv2d": "none", "Sigmoid": "sigmoid"}
  if kinds and {*kinds[:-1]} <= {"Conv2d", "ReLU"} and kinds[-1] in ends:
    return ends[kinds[-1]]
  raise UserError(
    f"the add-on has {', '.join(kinds) or 'no layers'}; only convolutions"
    " and ReLU can be read, and a Sigmoid at the end"
  )


def layers(arch: Keys) -> list[str]:
  """The keys that describe the layers of the add-on, in order."""
  below = arch.below(f"{pipeline(arch)}add_on")
  return [path for path in below if arch.has(f"{path}.type")]


def pipeline(arch: Keys) -> str:
  """The key above those of the add-on, of which CaBRNet has had two."""
  for path in arch.below("extractor"):
    if path != "extractor.backbone" and arch.below(f"{path}.add_on"):
      return f"{path}."
  return "extractor."
