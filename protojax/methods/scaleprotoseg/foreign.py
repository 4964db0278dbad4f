"""Imports networks that the code of ScaleProtoSeg or ProtoSeg has trained.

github.com/eceo-epfl/ScaleProtoSeg and github.com/gmum/proto-segmentation pickle
their whole module; its class identities say which class and scale each
prototype is of. A state dict says so only as long as no duplicate was removed.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
import re
from typing import Any

import numpy as np

from protojax.engine import adopt
from protojax.methods.scaleprotoseg.method import Method
from protojax.prototypes import foreign_parts
from protojax.prototypes.bank import Provenance, bank_params
from protojax.types import Metrics, PyTree, State, UserError
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
  "ScaleProtoSeg's and ProtoSeg's code (features.base.layer5.*,"
  " features.base.aspp.*, prototype_vectors)"
)

_BASE = "features.base."
_PROTOTYPES, _CLASSES = "prototype_vectors", "prototype_class_identity"
_HEAD, _GROUPED = "last_layer.weight", "last_layer_group.weight"
_GROUP = "group_projection.{}.weight"
_RATES = (6, 12, 18, 24)
_SIZE = 513  # of a state dict, which tells no size
# Blocks of the third stage -> the ResNet.
_DEPTHS = {6: "resnet50_deeplab", 23: "resnet101_deeplab"}
_BLOCK = re.compile(r"layer4\.block(\d+)\.")


@dataclasses.dataclass(frozen=True)
class Segmenter:
  """A network of their code.

  Attributes:
    tensors: by their names.
    backbone: our name of it.
    prototypes: [p d].
    class_of: int [p].
    scale_of: int [p], from 0.
    classes: k.
    groups: of a class; 0: the head reads prototypes.
    sizes: shares of the image's size at which it is seen, too.
    image_size: pixels on a side.
    notes: assumptions that were made, as sentences.
  """

  tensors: Mapping[str, np.ndarray]
  backbone: str
  prototypes: np.ndarray
  class_of: np.ndarray
  scale_of: np.ndarray
  classes: int
  groups: int
  sizes: tuple[float, ...]
  image_size: int
  notes: tuple[str, ...]

  @property
  def scales(self) -> int:
    """Number of scales."""
    return int(self.scale_of.max()) + 1

  @property
  def per_class(self) -> int:
    """Places for prototypes of a class at a scale: the most that one has."""
    of = self.scale_of * self.classes + self.class_of
    return int(np.bincount(of).max())

  @property
  def places(self) -> np.ndarray:
    """The number in our bank of each prototype, int [p]."""
    seen: dict[tuple[int, int], int] = {}
    found = []
    for s, k in zip(
      self.scale_of.tolist(), self.class_of.tolist(), strict=True
    ):
      m = seen[s, k] = seen.get((s, k), -1) + 1
      found.append((s * self.classes + k) * self.per_class + m)
    return np.array(found)


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is of their code."""
  tensors = prefixes.bare(module.tensors)
  return _PROTOTYPES in tensors and f"{_BASE}aspp.c0.weight" in tensors


def read(module: pytorch.Module, arch: Path, image_size: int) -> Segmenter:
  """The network of a file.

  Args:
    module: the content of the file.
    arch: of CaBRNet; not needed.
    image_size: side of an image in pixels; 0 takes that of the file.

  Raises:
    UserError: it has parts that are not read, or does not tell which class or
      scale a prototype is of.
  """
  del arch
  tensors = dict(prefixes.bare(module.tensors))
  if other := [
    n for n in tensors if n.startswith(("scale_head.", "features.base.vgg"))
  ]:
    raise UserError(f"it has {other[0]}: such networks are not read")
  head = tensors.get(_GROUPED, tensors.get(_HEAD))
  if head is None:
    raise UserError(f"there is no tensor {_HEAD} or {_GROUPED}")
  prototypes = tensors[_PROTOTYPES].reshape(len(tensors[_PROTOTYPES]), -1)
  classes, notes = len(head), []
  if _CLASSES in tensors:
    class_of = tensors[_CLASSES].argmax(axis=1).astype(np.int32)
  else:
    class_of = _classes_in_order(tensors, len(prototypes), classes)
    notes.append(
      "a state dict does not hold the classes of prototypes, nor how images"
      " are seen: none is taken to have been removed as a duplicate, and the"
      f" size to be {image_size or _SIZE} (--image-size)"
    )
  # Scale by scale, and class by class in each: a new scale begins with a class
  # before the one that the last ends with.
  scale_of = np.cumsum(np.diff(class_of, prepend=class_of[:1]) < 0)
  groups = tensors[_GROUP.format(0)].shape[0] if _GROUPED in tensors else 0
  scales = int(scale_of.max()) + 1
  if scales not in (1, len(_RATES)):
    raise UserError(
      f"its prototypes lie in {scales} scales; expected 1 or {len(_RATES)}"
    )
  size = image_size
  if not size:
    size = _SIZE
    if "img_size" in module.attributes:
      size = foreign_parts.image_size(module.attributes)
  return Segmenter(
    tensors,
    _backbone(tensors),
    prototypes,
    class_of,
    scale_of.astype(np.int32),
    classes,
    groups,
    _sizes(module.attributes),
    size,
    tuple(notes),
  )


def _classes_in_order(
  tensors: Mapping[str, np.ndarray], count: int, classes: int
) -> np.ndarray:
  """Classes of prototypes of which none was removed, [p]."""
  scales = len(_RATES) if _GROUPED in tensors or count % 10 else 1
  each = count // (classes * scales)
  if each * classes * scales != count:
    raise UserError(
      f"it is a state dict of {count} prototypes of {classes} classes, of which"
      " some were removed: the file that torch.save(model) writes says which"
    )
  return np.tile(np.repeat(np.arange(classes), each), scales).astype(np.int32)


def _backbone(tensors: Mapping[str, np.ndarray]) -> str:
  blocks = {
    int(found[1])
    for name in tensors
    if (found := _BLOCK.match(name.removeprefix(_BASE)))
  }
  if len(blocks) not in _DEPTHS:
    raise UserError(
      f"layer4 has {len(blocks)} blocks; those of ResNet-50 (6) and ResNet-101"
      " (23) are read"
    )
  return _DEPTHS[len(blocks)]


def _sizes(attributes: Mapping[str, Any]) -> tuple[float, ...]:
  found = attributes.get("features.scales", ())
  # At its own size it is seen anyway.
  return tuple(float(x) for x in found if 0 < float(x) < 1)


def config(found: Segmenter) -> str:
  """Our config for what a checkpoint does not tell."""
  variants = "deeplab" if found.scales > 1 else "protoseg,deeplab"
  return f"scaleprotoseg_folder:{variants}"


def settings(found: Segmenter) -> dict[str, Any]:
  """Keys of the config that a checkpoint tells."""
  return {
    "data.image_size": found.image_size,
    "backbone.name": found.backbone,
    "backbone.pretrained": False,
    "backbone.weights": "",
    "aspp.rates": _RATES,
    "aspp.channels": found.prototypes.shape[1],
    "aspp.summed": found.scales == 1,
    "sizes": found.sizes,
    "prototypes.per_class": found.per_class,
    "groups.per_class": found.groups,
  }


def described(found: Segmenter) -> str:
  """In a line."""
  return (
    f"{found.backbone} with {len(found.prototypes)} prototypes of"
    f" {found.classes} classes at {found.scales} scales, and {found.groups}"
    f" groups of a class, images of {found.image_size} pixels"
  )


def state(found: Segmenter, template: PyTree, method: Method) -> State:
  """The state of the method with these weights.

  Prototypes that were removed as duplicates are dead.

  Raises:
    UserError: the arrays do not fit the template.
  """
  tensors, base = found.tensors, foreign_parts.below(found.tensors, _BASE)
  converted = dict(
    method.network.backbone.convert(
      {n: x for n, x in base.items() if not n.startswith("aspp.")}
    )
  )
  s, k, m = found.scales, found.classes, found.per_class
  count, places = s * k * m, found.places
  vectors = np.zeros((count, found.prototypes.shape[1]), np.float32)
  vectors[places] = found.prototypes
  alive = np.zeros(count, bool)
  alive[places] = True
  params = {
    "backbone": converted.pop("params"),
    "aspp": _aspp(base),
    "prototypes": bank_params(vectors[:, None, None]),
    "head": _heads(found, tensors),
  }
  buffers = {
    "class_of": np.tile(np.repeat(np.arange(k, dtype=np.int32), m), s),
    "alive": alive,
    "provenance": Provenance.empty(count),
    "grouped": np.asarray(found.groups > 0),
  }
  return adopt.fitted(State(params, {"backbone": converted}, buffers), template)


def _aspp(base: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  found = {}
  for number in range(len(_RATES)):
    kernel, bias = (base[f"aspp.c{number}.{x}"] for x in ("weight", "bias"))
    found[f"kernel_{number}"] = kernel.transpose(2, 3, 1, 0)
    found[f"bias_{number}"] = bias
  return found


def _heads(
  found: Segmenter, tensors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """That of prototypes [k s k m]; of groups, weights [k g n] and [k k g]."""
  s, k, m = found.scales, found.classes, found.per_class
  head = np.zeros((k, s * k * m), np.float32)
  if _HEAD in tensors:
    head[:, found.places] = tensors[_HEAD]
  heads = {"of_prototypes": head.reshape(k, s, k, m)}
  if not found.groups:
    return heads
  weights = np.zeros((k, found.groups, s * m), np.float32)
  of_groups = np.zeros((k, k, found.groups), np.float32)
  # Classes without prototypes have no place in their lists.
  for number, c in enumerate(np.unique(found.class_of)):
    own = found.places[found.class_of == c]
    scale, rest = np.divmod(own, k * m)
    weights[c][:, scale * m + rest % m] = tensors[_GROUP.format(number)]
    columns = slice(number * found.groups, (number + 1) * found.groups)
    of_groups[:, c] = tensors[_GROUPED][:, columns]
  return {**heads, "weights": weights, "of_groups": of_groups}


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """The state with prototypes that are pixels of training images."""
  return method.push(state, method.stream("train"))
