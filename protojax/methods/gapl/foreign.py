"""Imports detectors that GAPL's own code has trained.

github.com/UltraCapture/GAPL saves CLIP's visual tower with PEFT's adapters, the
projection, PyTorch's attention and the classifier; beside them lies the
dictionary. The first stage's head is not saved: nothing reads it any more.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from protojax import backbones
from protojax.backbones.backbone import Backbone
from protojax.engine import adopt
from protojax.methods.gapl import network
from protojax.methods.gapl.method import Method
from protojax.prototypes import bank
from protojax.types import Metrics, PyTree, State, UserError
from protojax.weights import prefixes, pytorch

# What is declared of checkpoints; see `protojax.methods`.
__all__ = [
  "CLASS_NAMES",
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
SYSTEMS = "GAPL's code (feature_extractor.*, cross_attention.in_proj_weight)"
CLASS_NAMES = network.CLASS_NAMES

_ENCODER, _PATCHES = "feature_extractor.", "embeddings.patch_embedding.weight"
_PROJECTION, _CLASSIFIER = "foren_proj.weight", "fc.weight"
_JOINED, _JOINED_BIAS = (
  "cross_attention.in_proj_weight",
  "cross_attention.in_proj_bias",
)
_OUT, _OUT_BIAS = (
  "cross_attention.out_proj.weight",
  "cross_attention.out_proj.bias",
)
_NEEDED = (
  *(_PROJECTION, _CLASSIFIER, _JOINED, _JOINED_BIAS, _OUT, _OUT_BIAS),
  _ENCODER + _PATCHES,
)
# Their training script and their inference call the dictionary differently.
_DICTIONARIES = "propVec", "prototype"
_BASE, _DOWN, _UP = ".base_layer.", ".lora_A.default.", ".lora_B.default."
_LAYER = "encoder.layers.{}.self_attn.{}_proj"
# What their code has fixed and no tensor tells.
_HEADS, _ALPHA = 4, 32.0


@dataclasses.dataclass(frozen=True)
class Detector:
  """A network of their code.

  Attributes:
    tensors: by their names.
    dictionary: the prototypes, [n d]; those of real images first.
    backbone: our name of the encoder.
    notes: assumptions that were made, as sentences.
  """

  tensors: Mapping[str, np.ndarray]
  dictionary: np.ndarray
  backbone: str
  notes: tuple[str, ...] = (
    "their code cuts images of 224 pixels without resizing them; here they are"
    " resized to 256 first. --config.data.resize_size changes it",
  )

  @property
  def classes(self) -> int:
    """Real and generated."""
    return len(CLASS_NAMES)

  @property
  def encoder(self) -> dict[str, np.ndarray]:
    """Tensors of the visual tower, by Hugging Face's names."""
    return {
      f"vision_model.{name.removeprefix(_ENCODER).replace(_BASE, '.')}": x
      for name, x in self.tensors.items()
      if name.startswith(_ENCODER) and not (_DOWN in name or _UP in name)
    }

  @property
  def rank(self) -> int:
    """Of the adapters; 0: the encoder has none."""
    found = [len(x) for name, x in self.tensors.items() if _DOWN in name]
    return found[0] if found else 0


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is a GAPL's."""
  return {_PROJECTION, _JOINED} <= prefixes.bare(module.tensors).keys()


def read(module: pytorch.Module, arch: Path, image_size: int) -> Detector:
  """The network of a file.

  Args:
    module: the content of the file.
    arch: of CaBRNet; not needed.
    image_size: ignored; the encoder tells it.

  Raises:
    UserError: a tensor is missing, or the encoder is no CLIP of ours.
  """
  del arch, image_size
  tensors = dict(prefixes.bare(module.tensors))
  if missing := [name for name in _NEEDED if name not in tensors]:
    raise UserError(f"there is no tensor {', '.join(missing)}")
  found = [
    module.beside[name] for name in _DICTIONARIES if name in module.beside
  ]
  if not found:
    raise UserError(
      "there is no dictionary of prototypes beside the weights"
      f" ({' or '.join(_DICTIONARIES)})"
    )
  shape = tensors[_ENCODER + _PATCHES].shape
  for name in _clips():
    vit: Any = backbones.load(name).module
    if shape == (vit.channels, 3, vit.patch, vit.patch):
      return Detector(tensors, found[0], name)
  raise UserError(
    f"its encoder has patches of the shape {shape}, as no CLIP of"
    f" {', '.join(_clips())} has"
  )


def _clips() -> tuple[str, ...]:
  return tuple(name for name in backbones.names() if name.startswith("clip_"))


def config(found: Detector) -> str:
  """Our config for what a checkpoint does not tell."""
  del found
  return "gapl_folder:clip"


def settings(found: Detector) -> dict[str, Any]:
  """Keys of the config that a checkpoint tells."""
  vit: Any = backbones.load(found.backbone).module
  count, channels = found.dictionary.shape
  return {
    "baseline": "" if found.rank else "prototypes",
    "backbone.name": found.backbone,
    "backbone.weights": "",
    # Their code normalises for CLIP as for ImageNet.
    "backbone.normalise": "imagenet",
    "data.image_size": vit.grid * vit.patch,
    "adapters.layers": "q|k|v",
    "adapters.rank": found.rank or 1,
    "adapters.alpha": _ALPHA,
    "prototypes.count": count,
    "prototypes.channels": channels,
    "prototypes.heads": _HEADS,
  }


def described(found: Detector) -> str:
  """In a line."""
  return f"a GAPL of {len(found.dictionary)} prototypes on {found.backbone}"


def summary(found: Detector) -> dict[str, Any]:
  """Entries of summary.json."""
  return {"prototypes": len(found.dictionary)}


def state(found: Detector, template: PyTree, method: Method) -> State:
  """The state of the method with these weights, and the encoder, an asset.

  Raises:
    UserError: a tensor is missing, superfluous or misshapen.
  """
  tensors = found.tensors
  rows = np.array(found.dictionary, np.float32)
  params: dict[str, PyTree] = {
    "projection": {"kernel": tensors[_PROJECTION].T},
    "bottleneck": {"kernel": np.zeros((rows.shape[1], 1), np.float32)},
    "classifier": {"kernel": tensors[_CLASSIFIER].T},
    "attention": {
      **{
        name: {"kernel": kernel.T, "bias": bias}
        for name, kernel, bias in zip(
          ("query", "key", "value"),
          np.split(tensors[_JOINED], 3),
          np.split(tensors[_JOINED_BIAS], 3),
          strict=True,
        )
      },
      "out": {"kernel": tensors[_OUT].T, "bias": tensors[_OUT_BIAS]},
    },
    "prototypes": bank.bank_params(rows[:, None, None]),
  }
  backbone = method.network.backbone
  if method.network.adapted is not None:
    params["adapters"] = {
      path: _adapter(tensors, int(path.split("/")[0].removeprefix("layer_")))
      for path in method.network.adapted.blocks
    }
  buffers = {
    "threshold": np.float32(0.5),
    **bank.bank_buffers(np.repeat([0, 1], len(rows) // 2)),
  }
  made = adopt.fitted(State(params, {}, buffers), template)
  return made.replace(assets={"encoder": _encoder(found, backbone)})


def _encoder(found: Detector, backbone: Backbone) -> PyTree:
  return dict(backbone.convert(found.encoder))


def _adapter(tensors: Mapping[str, np.ndarray], layer: int) -> PyTree:
  """The adapters of queries, keys and values of a block, counted from 1."""
  down, up = [], []
  for part in "qkv":
    place = _ENCODER + _LAYER.format(layer - 1, part)
    for kind, rows in ((_DOWN, down), (_UP, up)):
      name = f"{place}{kind}weight"
      if name not in tensors:
        raise UserError(f"there is no tensor {name}")
      rows.append(tensors[name])
  # PyTorch stores a linear layer by its outputs.
  return {"down": np.stack(down), "up": np.stack([x.T for x in up])}


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """Refuses: prototypes of GAPL are no patches.

  Raises:
    UserError: always.
  """
  raise UserError(
    "--push: a prototype of GAPL is a direction among embeddings and no patch"
    " of an image; leave it out"
  )
