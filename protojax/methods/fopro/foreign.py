"""Imports networks that FoPro's own code has trained.

github.com/yuleiqin/fopro saves both encoders, the heads, the prototypes and the
queue. A ResNet comes with a projector of two layers, a B-CNN with one of one.
MoPro's checkpoints are no runs of FoPro: --config.backbone.weights=FILE takes
the encoder of one.
"""

from collections.abc import Iterator, Mapping
import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from protojax.backbones import recognition
from protojax.backbones.backbone import Backbone
from protojax.engine.memory import Queue
from protojax.methods.fopro.method import Method
from protojax.methods.fopro.moving import Prototypes
from protojax.methods.fopro.starting import ENCODER
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
  "summary",
]
SYSTEMS = "FoPro's code (encoder_q.*, classifier_projection.fc.weight)"

_SLOW = "encoder_k."
# Ours -> theirs.
_PLAIN = {
  "classifier": "classifier.fc.weight",
  "auxiliary": "classifier_projection.fc.weight",
}
_BUFFERS = (
  "prototypes",
  "prototypes_visited",
  "prototypes_distance",
  "prototypes_density",
)
_NEEDED = (
  *_PLAIN.values(),
  *_BUFFERS,
  "queue",
  "queue_ptr",
  "projection.0.weight",
  "projection_back.0.weight",
  "relation.fc1.weight",
  "relation.fc2.weight",
)
# Pixels on a side, by whether the encoder is a B-CNN.
_SIDES = {True: 448, False: 224}


@dataclasses.dataclass(frozen=True)
class Network:
  """A network of their code.

  Attributes:
    tensors: by their names.
    backbone: our name of the encoder.
    notes: assumptions that were made, as sentences.
  """

  tensors: Mapping[str, np.ndarray]
  backbone: str
  notes: tuple[str, ...] = ()

  @property
  def classes(self) -> int:
    """Their number."""
    return len(self.tensors[_PLAIN["classifier"]])

  @property
  def bilinear(self) -> bool:
    """Whether it is a B-CNN."""
    return self.backbone.startswith("vgg")

  @property
  def deep(self) -> bool:
    """Whether the projector has two layers."""
    return "projection.2.weight" in self.tensors


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is a FoPro's."""
  return _PLAIN["auxiliary"] in prefixes.bare(module.tensors)


def read(module: pytorch.Module, arch: Path, image_size: int) -> Network:
  """The network of a file.

  Args:
    module: the content of the file.
    arch: of CaBRNet; not needed.
    image_size: ignored; the encoder tells it.

  Raises:
    UserError: a tensor is missing, or the encoder is none of ours.
  """
  del arch, image_size
  tensors = dict(prefixes.bare(module.tensors))
  if missing := [name for name in _NEEDED if name not in tensors]:
    raise UserError(f"there is no tensor {', '.join(missing)}")
  name = recognition.name_of(_part(tensors, ENCODER))
  name += "_stride16" * name.startswith("vgg")
  return Network(tensors, name)


def _part(tensors: Mapping[str, np.ndarray], prefix: str) -> dict:
  return {
    name.removeprefix(prefix): array
    for name, array in tensors.items()
    if name.startswith(prefix)
  }


def config(found: Network) -> str:
  """Our config for what a checkpoint does not tell."""
  return f"fopro_folder:{'fine' if found.bilinear else 'large'}"


def settings(found: Network) -> dict[str, Any]:
  """Keys of the config that a checkpoint tells."""
  channels, queue = found.tensors["queue"].shape
  return {
    "backbone.name": found.backbone,
    "backbone.weights": "",
    "data.image_size": _SIDES[found.bilinear],
    "network.pooling": "bilinear" if found.bilinear else "mean",
    "network.hidden": len(found.tensors["projection.0.weight"]) * found.deep,
    "network.channels": channels,
    "network.relation": len(found.tensors["relation.fc1.weight"]),
    "queue.size": queue,
  }


def described(found: Network) -> str:
  """In a line."""
  kind = "B-CNN" if found.bilinear else found.backbone
  return f"a FoPro of {found.classes} classes on a {kind}"


def summary(found: Network) -> dict[str, Any]:
  """Entries of summary.json."""
  return {"prototypes": found.classes}


def state(found: Network, template: PyTree, method: Method) -> State:
  """The state of the method with these weights.

  Raises:
    UserError: a tensor is missing, superfluous or misshapen.
  """
  tensors, backbone = found.tensors, method.network.backbone
  own, slow = (
    _encoder(backbone, _part(tensors, prefix)) for prefix in (ENCODER, _SLOW)
  )
  both = tensors["relation.fc1.weight"].T
  middle = len(both) // 2
  params = {
    "backbone": own.pop("params"),
    **{name: {"kernel": tensors[x].T} for name, x in _PLAIN.items()},
    "projector": _layers(found, "projection"),
    "reconstructor": _layers(found, "projection_back"),
    "relation": {
      "image": both[:middle],
      "prototype": both[middle:],
      "out": tensors["relation.fc2.weight"][0],
    },
  }
  rows = tensors["queue"].T
  memory = {
    "encoder": {"params": slow.pop("params"), "statistics": slow},
    "queue": Queue(
      rows,
      np.ones(len(rows), bool),
      np.asarray(tensors["queue_ptr"], np.int32).reshape(()),
    ),
    "prototypes": Prototypes(*(tensors[name] for name in _BUFFERS)),
  }
  made = State(params, {"backbone": own}, {}, memory)
  made = jax.tree.map(np.ascontiguousarray, made)
  if wrong := list(_wrong(made, template)):
    raise UserError("; ".join(wrong[:20]))
  return jax.tree.map(
    lambda x, like: np.asarray(x, like.dtype).reshape(like.shape),
    made,
    template,
  )


def _encoder(backbone: Backbone, tensors: Mapping[str, np.ndarray]) -> dict:
  return dict(backbone.convert(tensors))


def _layers(found: Network, name: str) -> PyTree:
  numbers = {"first": 0, "last": 2} if found.deep else {"last": 0}
  made = {}
  for ours, number in numbers.items():
    place = f"{name}.{number}"
    if f"{place}.weight" not in found.tensors:
      raise UserError(f"there is no tensor {place}.weight")
    made[ours] = {
      "kernel": found.tensors[f"{place}.weight"].T,
      "bias": found.tensors[f"{place}.bias"],
    }
  return made


def _wrong(made: State, template: PyTree) -> Iterator[str]:
  """What has other shapes than the network of the config."""
  leaves, tree = jax.tree_util.tree_flatten_with_path(made)
  expected, other = jax.tree.flatten(template)
  if tree != other:
    yield "its layers are not those of the network of the config"
    return
  for (path, leaf), like in zip(leaves, expected, strict=True):
    if np.shape(leaf) not in (like.shape, (1,) * (not like.shape)):
      name = jax.tree_util.keystr(path)
      yield f"{name} has shape {np.shape(leaf)}; expected {like.shape}"


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """Refuses: prototypes of FoPro are no patches.

  Raises:
    UserError: always.
  """
  raise UserError(
    "--push: a prototype of FoPro is the mean of a class's images and no patch"
    " of one; leave it out"
  )
