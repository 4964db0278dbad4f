"""Imports models that ST-ProtoPNet's own code has trained.

github.com/cwangrun/ST-ProtoPNet has two networks with the same names of
tensors. They are told by the number of the first layer of an add-on that has
weights: in `full/` it comes after one that upsamples.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Float
import numpy as np

from protojax.backbones import recognition
from protojax.engine import adopt
from protojax.methods.st_protopnet import branches
from protojax.methods.st_protopnet.method import Method
from protojax.prototypes import distance, foreign_parts
from protojax.prototypes.bank import Provenance, bank_params
from protojax.prototypes.foreign_parts import Convolution
from protojax.types import ArrayLike, Metrics, PyTree, State, UserError
from protojax.weights import prefixes, pytorch

# What is declared of checkpoints; see `protojax.methods`.
__all__ = [
  "SYSTEMS",
  "config",
  "described",
  "pushed",
  "read",
  "recognised",
  "settings",
  "state",
]
SYSTEMS = (
  "ST-ProtoPNet's code (prototype_vectors_trivial, prototype_vectors_support)"
)

# In the order of our branches.
_BRANCHES = ("trivial", "support")
_FEATURES = "features."
_ADD_ONS = tuple(f"add_on_layers_{b}." for b in _BRANCHES)
_PROTOTYPES = tuple(f"prototype_vectors_{b}" for b in _BRANCHES)
_HEADS = tuple(f"last_layer_{b}.weight" for b in _BRANCHES)
_CLASSES = "prototype_class_identity"
_KNOWN = (*_PROTOTYPES, *_HEADS, _CLASSES, "ones")

# How many cells come of one on a side, in `full/`, but for a VGG.
_FINER = 2

_CUT = (
  "It was trained on images cut to their bounding boxes. Images are taken as"
  " they are: give such ones."
)


@dataclasses.dataclass(frozen=True)
class _Variant:
  """One of the two networks.

  Attributes:
    name: of the variant of our config that has its settings.
    numbers: of the layers of an add-on that have weights.
    kinds: the classes of an add-on's layers, which only a whole module tells.
    similarity: our name of it.
    activation: after each convolution.
  """

  name: str
  numbers: tuple[str, ...]
  kinds: tuple[tuple[str, ...], ...]
  similarity: str
  activation: str


_VARIANTS = (
  _Variant(
    "cropped",
    ("0", "2"),
    (("Conv2d", "Tanh", "Conv2d", "Tanh"),),
    "projection",
    "tanh",
  ),
  _Variant(
    "full",
    ("1", "2"),
    (("Upsample", "Conv2d", "Conv2d"), ("Identity", "Conv2d", "Conv2d")),
    "relu_cosine",
    "none",
  ),
)


@dataclasses.dataclass(frozen=True)
class Branched:
  """A model with two branches; arrays in PyTorch's order of axes.

  Attributes:
    variant: which of the two networks it is.
    backbone: our name of the backbone.
    upsample: times so many cells on a side.
    features: tensors of the backbone, by torchvision's names.
    add_ons: of each branch.
    prototypes: [2, q, d].
    heads: [2, k, q].
    image_size: side of an image in pixels.
    notes: assumptions that were made, as sentences.
  """

  variant: _Variant
  backbone: str
  upsample: int
  features: Mapping[str, np.ndarray]
  add_ons: Sequence[Sequence[Convolution]]
  prototypes: np.ndarray
  heads: np.ndarray
  image_size: int
  notes: tuple[str, ...] = ()

  @property
  def classes(self) -> int:
    """k, the number of classes."""
    return self.heads.shape[1]


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is an ST-ProtoPNet's."""
  tensors = prefixes.bare(module.tensors)
  return any(name in tensors for name in _PROTOTYPES)


def read(module: pytorch.Module, arch: Path, image_size: int) -> Branched:
  """The model of a file, of a module saved whole or of its state dict.

  Args:
    module: the content of the file.
    arch: of CaBRNet; not needed.
    image_size: side of an image in pixels; 0 takes that of the file.

  Raises:
    UserError: tensors are missing or superfluous, or a layer is none of ours.
  """
  del arch
  tensors = prefixes.bare(module.tensors)
  _check_names(tensors)
  variant = _variant(tensors)
  features = foreign_parts.below(tensors, _FEATURES)
  backbone = recognition.name_of(features)
  vgg = backbone.startswith("vgg")
  full = variant.similarity == "relu_cosine"
  _check_layers(module, variant, full and not vgg)
  notes = _check_branches(tensors)
  size = image_size or foreign_parts.image_size(module.attributes)
  if not image_size and "img_size" not in module.attributes:
    notes.append(
      "A state dict does not hold the size of images:"
      f" {size} pixels are assumed (--image-size)."
    )
  notes.append(
    f"It is of the code's folder {variant.name}/, by the layers of its add-ons:"
    f" similarity {variant.similarity}, activation {variant.activation}."
  )
  if variant.name == "cropped":
    notes.append(_CUT)
  return Branched(
    variant=variant,
    # The code leaves out the last pooling of a VGG, which has no tensor.
    backbone=f"{backbone}_stride16" if full and vgg else backbone,
    upsample=_FINER if full and not vgg else 1,
    features=features,
    add_ons=[foreign_parts.convolutions(tensors, p) for p in _ADD_ONS],
    prototypes=np.stack([tensors[n][:, :, 0, 0] for n in _PROTOTYPES]),
    heads=np.stack([tensors[n] for n in _HEADS]),
    image_size=size,
    notes=tuple(notes),
  )


def described(found: Branched) -> str:
  """Backbone and sizes, for messages."""
  branches_, each, _ = found.prototypes.shape
  return (
    f"{found.backbone} with {branches_} x {each} prototypes of {found.classes}"
    f" classes, images of {found.image_size} pixels"
  )


def config(found: Branched) -> str:
  """Our config for what a checkpoint does not tell."""
  return f"st_protopnet_folder:{found.variant.name}"


def settings(found: Branched) -> dict[str, Any]:
  """Keys of the config that follow from the checkpoint -> values.

  Raises:
    UserError: the add-on is none of ours.
  """
  _, each, channels = found.prototypes.shape
  kinds = {
    foreign_parts.add_on_kind([w.shape for w, _ in add_on], channels)
    for add_on in found.add_ons
  }
  if kinds != {"regular"}:
    raise UserError(
      f"its add-ons are {', '.join(sorted(kinds))}; ST-ProtoPNet's code has"
      " two convolutions in each"
    )
  return {
    "method": "st_protopnet",
    "branches": ",".join(_BRANCHES),
    "data.image_size": found.image_size,
    # The code reads folders of images that are cut already.
    "data.crop": False,
    "backbone.name": found.backbone,
    "backbone.pretrained": False,
    "backbone.weights": "",
    "backbone.upsample": found.upsample,
    "prototypes.per_class": each // found.classes,
    "prototypes.channels": channels,
    "prototypes.similarity": found.variant.similarity,
    "prototypes.add_on": "regular",
    "prototypes.hidden": found.variant.activation,
    "prototypes.activation": found.variant.activation,
    "prototypes.standardise": False,
    "prototypes.patches": False,
  }


def state(found: Branched, template: PyTree, method: Method) -> State:
  """The state of the method with these weights.

  Its prototypes have no known provenance.

  Raises:
    UserError: the arrays do not fit the template.
  """
  backbone = method.network.backbone
  converted = dict(backbone.convert(found.features))
  layers = [foreign_parts.add_on_params(x) for x in found.add_ons]
  count, each, _ = found.prototypes.shape
  of_branch = np.repeat(np.arange(found.classes), each // found.classes)
  made = State(
    params={
      "backbone": converted.pop("params"),
      "add_on": {
        "branches": {
          layer: {
            leaf: np.stack([one[layer][leaf] for one in layers])
            for leaf in ("kernel", "bias")
          }
          for layer in layers[0]
        }
      },
      # They are compared at length one, and need not have it before a step.
      "prototypes": bank_params(jax.jit(_at_length_one)(found.prototypes)),
      "head": {"weight": np.concatenate(found.heads, axis=1)},
    },
    statistics={
      "backbone": converted,
      "shift": np.zeros(backbone.channels),
      "scale": np.ones(backbone.channels),
    },
    buffers={
      "class_of": np.tile(of_branch, count),
      "alive": np.ones(count * each, bool),
      "provenance": Provenance.empty(count * each),
      "step": np.zeros(()),
    },
  )
  return adopt.fitted(made, template)


def _at_length_one(
  prototypes: Float[ArrayLike, "n q d"],
) -> Float[jax.Array, "p 1 1 e"]:
  """The prototypes of all branches as the bank has them."""
  return branches.diagonal(distance.direction(prototypes))


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """The state with prototypes that are patches of training images."""
  return method.push(state, method.stream("train"))


def _check_names(tensors: Mapping[str, np.ndarray]) -> None:
  needed = (*_PROTOTYPES, *_HEADS)
  complaints = [f"missing {name}" for name in needed if name not in tensors]
  complaints += [
    f"superfluous {name}"
    for name in tensors
    if not name.startswith((_FEATURES, *_ADD_ONS)) and name not in _KNOWN
  ]
  if complaints:
    raise UserError(
      "it is not a file of ST-ProtoPNet's code (features,"
      " add_on_layers_BRANCH, prototype_vectors_BRANCH [p d 1 1] and"
      f" last_layer_BRANCH [k p] of the branches {' and '.join(_BRANCHES)}):"
      f" {', '.join(complaints[:20])}"
    )


def _variant(tensors: Mapping[str, np.ndarray]) -> _Variant:
  """The network, by the numbers of the add-ons' layers that have weights."""
  numbers = {
    tuple(
      name.split(".")[1]
      for name in tensors
      if name.startswith(prefix) and name.endswith(".weight")
    )
    for prefix in _ADD_ONS
  }
  for variant in _VARIANTS:
    if numbers == {variant.numbers}:
      return variant
  told = " and ".join(", ".join(n) or "none" for n in sorted(numbers))
  known = "; ".join(f"{', '.join(v.numbers)} ({v.name}/)" for v in _VARIANTS)
  raise UserError(
    f"the layers of its add-ons that have weights are {told}; those of"
    f" ST-ProtoPNet's code are {known}"
  )


def _check_layers(
  module: pytorch.Module, variant: _Variant, upsamples: bool
) -> None:
  """Checks the layers of the add-ons, which only a whole module tells."""
  for prefix in _ADD_ONS:
    kinds = tuple(foreign_parts.layer_kinds(module.kinds, prefix))
    if not kinds:
      continue
    if kinds not in variant.kinds or (kinds[0] == "Upsample") != upsamples:
      raise UserError(
        f"its {prefix.removesuffix('.')} is {', '.join(kinds)};"
        f" {' or '.join(', '.join(k) for k in variant.kinds)} can be read, in"
        " full/ with an Upsample for all backbones but a VGG"
      )
    if upsamples:
      asked = [
        module.attributes.get(f"{prefix}0.{name}")
        for name in ("scale_factor", "mode", "align_corners")
      ]
      if asked[:2] != [_FINER, "bilinear"] or asked[2]:
        raise UserError(
          f"its {prefix}0 upsamples with scale_factor, mode, align_corners ="
          f" {asked}; only {_FINER}, 'bilinear' without aligned corners can be"
          " read"
        )


def _check_branches(tensors: Mapping[str, np.ndarray]) -> list[str]:
  """Checks that both branches have equally many prototypes of each class.

  Returns:
    A note on what a state dict does not tell.
  """
  notes = {}
  for names in zip(_PROTOTYPES, _HEADS, strict=True):
    prototypes, head = (tensors[name] for name in names)
    foreign_parts.check(prototypes, head, tensors.get(_CLASSES))
    if prototypes.shape[2:] != (1, 1):
      raise UserError(
        f"its {names[0]} has the shape {prototypes.shape}; only prototypes of"
        " one cell, [p d 1 1], can be read"
      )
    if _CLASSES in tensors:
      class_of = np.argmax(tensors[_CLASSES], axis=1)
    else:
      class_of, note = foreign_parts.classes_by_head(
        prototypes, head, (names[1], _CLASSES)
      )
      notes[note] = None
    each = len(prototypes) // len(head)
    expected = np.repeat(np.arange(len(head)), each)
    if not np.array_equal(class_of, expected):
      raise UserError(
        f"the classes of its {len(prototypes)} {names[0]} are not"
        f" {max(each, 1)} of each of {len(head)} in turn, as ST-ProtoPNet's"
        " code has them; pruned models cannot be read"
      )
  shapes = [tensors[name].shape for name in _PROTOTYPES]
  if shapes[0] != shapes[1] or len({len(tensors[n]) for n in _HEADS}) > 1:
    raise UserError(
      f"its branches differ: {' and '.join(map(str, shapes))} prototypes; both"
      " must have the same numbers"
    )
  return list(notes)
