"""Reads ProtoPNets of CaBRNet (github.com/aiser-team/cabrnet): weights + YAML.

The state dict holds all tensors; `model_arch.yml` beside it tells what has
none: where the backbone is cut, the activations, and the similarity.
"""

from collections.abc import Mapping

import numpy as np

from protojax.methods.protopnet.foreign_state import (
  IMAGE_SIZE,
  Classifier,
  backbone_name,
  check,
  convolutions,
)
from protojax.types import UserError
from protojax.weights.yaml_keys import Keys

_FEATURES, _ADD_ON = "extractor.convnet.", "extractor.add_on."
_PROTOTYPES, _HEAD = "classifier.prototypes", "classifier.last_layer.weight"
_CLASSES = "classifier.proto_class_map"
# Sums over channels, as a convolution.
_ONES = "classifier.similarity_layer._summation_kernel"

# Where our backbones end, as torchvision calls it.
_ENDS = {"resnet": "layer4", "vgg": "features", "densenet": "relu"}
_SIMILARITIES = {
  "LegacyProtoPNetSimilarity": "log",
  "ProtoPNetSimilarity": "log",
  "CosineSimilarity": "cosine",
}
# What keeps the logarithm finite: `similarity.EPSILON`.
_STABILITY = 1e-4


def recognised(tensors: Mapping[str, np.ndarray]) -> bool:
  """Whether a state dict has CaBRNet's names."""
  return any(name.startswith("extractor.convnet.") for name in tensors)


def read(
  tensors: Mapping[str, np.ndarray], arch: Keys, image_size: int
) -> Classifier:
  """What a state dict and its model_arch.yml say.

  Args:
    tensors: of the state dict, by name.
    arch: keys of the file.
    image_size: side of an image in pixels; 0 where nobody has said.

  Raises:
    UserError: it is another architecture, or asks for what is not here.
  """
  _check_names(tensors)
  prototypes, head = tensors[_PROTOTYPES], tensors[_HEAD]
  class_map = tensors[_CLASSES]
  check(prototypes, head, class_map)
  features = {
    name.removeprefix(_FEATURES): x
    for name, x in tensors.items()
    if name.startswith(_FEATURES)
  }
  backbone = backbone_name(features)
  check_architecture(arch, backbone)
  # A disabled prototype has lost its class, but training may go on to give it
  # weights, and those count.
  disabled = ~np.any(class_map, axis=1)
  silent = disabled & ~np.any(head, axis=0)
  class_of = np.argmax(np.where(disabled[:, None], head.T, class_map), axis=1)
  notes = []
  if np.any(disabled & ~silent):
    notes.append(
      f"{np.sum(disabled & ~silent)} disabled prototypes have weights all the"
      " same, so they stay: each is taken to be of the class it speaks for the"
      " most."
    )
  if not image_size:
    notes.append(
      f"It does not say how large images are: {IMAGE_SIZE} pixels are assumed"
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
      "it is not what CaBRNet saves of a ProtoPNet:"
      f" {', '.join(complaints[:20])}"
    )


def check_architecture(arch: Keys, backbone: str) -> None:
  """That the parts with a name are those that we have.

  Raises:
    UserError: one is not, or the backbone is cut at another layer or changed.
  """
  for key, known in (
    ("top_arch.name", "ProtoPNet"),
    ("classifier.name", "ProtoPNetClassifier"),
  ):
    name = arch.take(key, known)
    if name != known:
      raise UserError(f"{key} is {name!r:.80}; {known} is read")
  ends = [end for kind, end in _ENDS.items() if backbone.startswith(kind)]
  own = f"{pipeline(arch)}source_layer"
  cut = str(arch.take(own, arch.take("extractor.backbone.layer")))
  if cut not in ends:
    raise UserError(
      f"the backbone is cut after its layer {cut!r:.80}; our {backbone} ends"
      f" with {' '.join(ends) or 'another'}"
    )
  changes = [
    *arch.below("extractor.backbone.postprocess"),
    *arch.below("extractor.backbone.params"),
  ]
  if changes:
    raise UserError(f"{', '.join(changes)}: a changed backbone is not read")


def similarity(arch: Keys) -> str:
  """Our name of the similarity.

  Raises:
    UserError: it is none of ours.
  """
  # Before there was a choice it was the logarithm.
  name = str(arch.take("similarity.name", "ProtoPNetSimilarity"))
  given = arch.take("similarity.params.stability_factor")
  known = _SIMILARITIES.get(name)
  if known is None or (known == "log" and given not in (None, _STABILITY)):
    raise UserError(
      f"similarity.name is {name!r:.80} with stability_factor {given};"
      f" {', '.join(_SIMILARITIES)} are read, with {_STABILITY} in a logarithm"
    )
  return known


def activation(arch: Keys) -> str:
  """What follows the last convolution of the add-on: "sigmoid" or "none".

  Raises:
    UserError: there are other layers than convolutions, ReLU, and a Sigmoid
      at the end.
  """
  kinds = [str(arch.take(f"{path}.type")) for path in layers(arch)]
  ends = {"Conv2d": "none", "Sigmoid": "sigmoid"}
  if kinds and {*kinds[:-1]} <= {"Conv2d", "ReLU"} and kinds[-1] in ends:
    return ends[kinds[-1]]
  raise UserError(
    f"the add-on has {', '.join(kinds) or 'no layers'}; convolutions"
    " and ReLU are read, and a Sigmoid at the end"
  )


def layers(arch: Keys) -> list[str]:
  """Where the layers of the add-on are described, in order."""
  below = arch.below(f"{pipeline(arch)}add_on")
  return [path for path in below if arch.has(f"{path}.type")]


def pipeline(arch: Keys) -> str:
  """What stands before the keys of the add-on; CaBRNet has had two places."""
  for path in arch.below("extractor"):
    if path != "extractor.backbone" and arch.below(f"{path}.add_on"):
      return f"{path}."
  return "extractor."
