"""Imports networks that the code of PEM has trained: ResNet-50, STDC1, STDC2.

github.com/NiccoloCavagnero/PEM saves detectron2's state dict under "model". It
tells neither the size of images nor the names of the classes.
"""

from collections.abc import Mapping
import dataclasses
from pathlib import Path
import re
from typing import Any

import numpy as np

from protojax.engine import adopt
from protojax.methods.pem.method import Method
from protojax.types import Metrics, PyTree, State, UserError
from protojax.weights import naming, prefixes, pytorch

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
  "PEM's code (sem_seg_head.pixel_decoder.csm.*, sem_seg_head.predictor.*)"
)

_PIXELS, _DECODER = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
_CROSS = "transformer_cross_attention_layers"
_SIZE = 512
# The last of its backbone's kernels -> our name of the backbone, its levels.
_STAGES = tuple(f"stage_{i}" for i in (1, 2, 3, 4))
_LATER = tuple(f"stage_{i}" for i in (2, 3, 4, 5))
_BACKBONES = {
  "res5.2.conv3": ("resnet50", _STAGES),
  "features.7.conv_list.3.conv": ("stdc1", _LATER),
  "features.13.conv_list.3.conv": ("stdc2", _LATER),
}
# What tells a deeper network from one of these.
_DEEPER = "res4.6.conv3"
# detectron2's names of a ResNet -> torchvision's, which our ResNets read.
_RESNET = (
  (r"^stem\.conv1\.norm\.", "bn1."),
  (r"^stem\.conv1\.", "conv1."),
  (r"\.conv(\d)\.norm\.", r".bn\1."),
  (r"\.shortcut\.norm\.", ".downsample.1."),
  (r"\.shortcut\.", ".downsample.0."),
)
_OF_PIXELS = naming.Layout(
  "PEM's pixel decoder",
  naming.naming(
    ("context/conv", "conv_avg.conv"),
    ("context/norm", "conv_avg.bn"),
    ("out/norm", "out.bn"),
    (r"level_(\d)/norm", r"level.\1.bn"),
    (r"level_(\d)", r"level.\1"),
    (r"gate_(\d)/reduce", r"csm.\1.mlp.0.mlp.0"),
    (r"gate_(\d)/norm", r"csm.\1.mlp.0.mlp.1"),
    (r"gate_(\d)/expand", r"csm.\1.mlp.0.mlp.3"),
    (r"conv_(\d)/offsets", r"dcn.\1.dcn_offset"),
    (r"conv_(\d)", r"dcn.\1.dcn"),
    (r"norm_(\d)", r"dcn.\1.dcn_bn"),
    (r"double_(\d)", r"dcn.\1.up_sample"),
    (r"double_norm_(\d)", r"dcn.\1.up_bn"),
  ),
)
_OF_DECODER = naming.Layout(
  "PEM's transformer decoder",
  naming.naming(
    (r"cross_(\d+)/keys/norm", rf"{_CROSS}.\1.feature_proj.bn"),
    (r"cross_(\d+)/keys/local", rf"{_CROSS}.\1.feature_proj.to_query_3x3"),
    (r"cross_(\d+)/keys/out", rf"{_CROSS}.\1.feature_proj.out"),
    (r"cross_(\d+)/norm", rf"{_CROSS}.\1.query_proj.0"),
    (r"cross_(\d+)/query", rf"{_CROSS}.\1.query_proj.1"),
    (r"cross_(\d+)/mix", rf"{_CROSS}.\1.proj"),
    (r"cross_(\d+)/out", rf"{_CROSS}.\1.final"),
    (r"cross_(\d+)", rf"{_CROSS}.\1"),
    (r"among_(\d+)/norm", r"transformer_self_attention_layers.\1.norm"),
    (
      r"among_(\d+)/out",
      r"transformer_self_attention_layers.\1.self_attn.out_proj",
    ),
    (r"among_(\d+)", r"transformer_self_attention_layers.\1.self_attn"),
    (r"forward_(\d+)/norm", r"transformer_ffn_layers.\1.norm"),
    (r"forward_(\d+)/expand", r"transformer_ffn_layers.\1.linear1"),
    (r"forward_(\d+)/project", r"transformer_ffn_layers.\1.linear2"),
    ("head/norm", "decoder_norm"),
    ("head/classes", "class_embed"),
    (r"head/mask_(\d)", r"mask_embed.layers.\1"),
    (r"level_(\d)", r"input_proj.\1"),
    ("queries", "query_feat.weight"),
    ("places", "query_embed.weight"),
    ("levels", "level_embed.weight"),
  ),
)


@dataclasses.dataclass(frozen=True)
class Segmenter:
  """A network of their code.

  Attributes:
    tensors: by their names.
    backbone: its name here.
    levels: the maps of it that are read.
    image_size: pixels on a side.
    notes: assumptions that were made, as sentences.
  """

  tensors: Mapping[str, np.ndarray]
  backbone: str
  levels: tuple[str, ...]
  image_size: int
  notes: tuple[str, ...]

  @property
  def classes(self) -> int:
    """Their number, without "no object"."""
    return len(self.tensors[f"{_DECODER}class_embed.bias"]) - 1

  @property
  def layers(self) -> int:
    """Number of the decoder's layers."""
    name = re.compile(rf"{re.escape(_DECODER)}{_CROSS}\.(\d+)\.alpha")
    return sum(bool(name.fullmatch(n)) for n in self.tensors)


def recognised(module: pytorch.Module) -> bool:
  """Whether the content of a file is of their code."""
  tensors = prefixes.bare(module.tensors)
  return f"{_DECODER}{_CROSS}.0.alpha" in tensors


def read(module: pytorch.Module, arch: Path, image_size: int) -> Segmenter:
  """The network of a file.

  Args:
    module: the content of the file.
    arch: of CaBRNet; not needed.
    image_size: side of an image in pixels; 0 takes 512.

  Raises:
    UserError: its backbone is none that PEM's code has.
  """
  del arch
  tensors = dict(prefixes.bare(module.tensors))
  backbone, levels = _backbone(tensors)
  size = image_size or _SIZE
  note = (
    f"the file tells neither the size of images, taken to be {size}"
    " (--image-size), nor which classes are things: the task is taken to be"
    " semantic"
  )
  return Segmenter(tensors, backbone, levels, size, (note,))


def _backbone(tensors: Mapping[str, np.ndarray]) -> tuple[str, tuple[str, ...]]:
  """Name and levels of the backbone, told by the last of its kernels."""
  there = {
    found
    for last, found in _BACKBONES.items()
    if f"backbone.{last}.weight" in tensors
  }
  # STDC2 has all kernels of STDC1.
  if ("stdc2", _LATER) in there:
    there.discard(("stdc1", _LATER))
  if len(there) != 1 or f"backbone.{_DEEPER}.weight" in tensors:
    raise UserError(
      "its backbone is not one of PEM's code: expected detectron2's ResNet-50"
      " (backbone.res5.2.conv3 and no backbone.res4.6), STDC1 or STDC2"
      " (backbone.features.7 or .13)"
    )
  return there.pop()


def config(found: Segmenter) -> str:
  """Our config for what a checkpoint does not tell."""
  del found
  return "pem_folder:paper"


def settings(found: Segmenter) -> dict[str, Any]:
  """Keys of the config that a checkpoint tells."""
  pixels = found.tensors[f"{_PIXELS}out.conv.weight"]
  queries = found.tensors[f"{_DECODER}query_feat.weight"]
  width = found.tensors[f"{_DECODER}transformer_ffn_layers.0.linear1.bias"]
  return {
    "data.image_size": found.image_size,
    "backbone.name": found.backbone,
    "backbone.levels": found.levels,
    "backbone.pretrained": False,
    "backbone.weights": "",
    "pixels.channels": pixels.shape[1],
    "pixels.mask_channels": pixels.shape[0],
    "decoder.queries": queries.shape[0],
    "decoder.channels": queries.shape[1],
    "decoder.layers": found.layers,
    "decoder.width": len(width),
    # Their rule, which the weights were trained with.
    "attention.parity": True,
  }


def described(found: Segmenter) -> str:
  """In a line."""
  queries = len(found.tensors[f"{_DECODER}query_feat.weight"])
  return (
    f"{found.backbone} with {queries} queries and {found.layers} layers,"
    f" {found.classes} classes, images of {found.image_size} pixels"
  )


def state(found: Segmenter, template: PyTree, method: Method) -> State:
  """The state of the method with these weights.

  Raises:
    UserError: the arrays do not fit the template.
  """
  own = _below(found.tensors, "backbone.")
  if found.backbone == "resnet50":
    own = _resnet(own)
  made = {
    "pixels": naming.convert(
      _pixels(_below(found.tensors, _PIXELS)),
      _wanted(template, "pixels"),
      (_OF_PIXELS,),
    ),
    "decoder": naming.convert(
      _decoder(_below(found.tensors, _DECODER)),
      _wanted(template, "decoder"),
      (_OF_DECODER,),
    ),
    "backbone": method.network.backbone.convert(own),
  }
  params = {name: tree.pop("params") for name, tree in made.items()}
  things = np.zeros(found.classes, bool)
  return adopt.fitted(State(params, made, {"things": things}), template)


def _wanted(template: PyTree, name: str) -> PyTree:
  return {"params": template.params[name], **template.statistics[name]}


def _below(
  tensors: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
  return {
    name.removeprefix(prefix): x
    for name, x in tensors.items()
    if name.startswith(prefix)
  }


def _resnet(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  found = {}
  for name, x in tensors.items():
    for pattern, ours in _RESNET:
      name = re.sub(pattern, ours, name)
    stage = re.match(r"res(\d)\.", name)
    if stage:
      name = f"layer{int(stage[1]) - 1}.{name.removeprefix(stage[0])}"
    found[name] = x
  return found


def _pixels(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Levels are numbered from the coarsest; transposed kernels are turned."""
  found = {}
  levels = [
    n for n in tensors if re.fullmatch(r"in_projections\.\d\.conv\.weight", n)
  ]
  last = len(levels) - 1
  for name, x in tensors.items():
    level = re.match(r"in_projections\.(\d)\.", name)
    if level:
      rest = name.removeprefix(level[0])
      name = f"level.{last - int(level[1])}.{rest}"
    if name.endswith("up_sample.weight"):
      x = x.swapaxes(0, 1)
    found[name] = x
  return found


def _decoder(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Query, key and value apart; alpha as a vector."""
  found = {}
  for name, x in tensors.items():
    if name.endswith(".alpha"):
      found[name] = x.reshape(-1)
    elif "in_proj_" in name:
      kind = name.rpartition("_")[2]
      for part, value in zip(
        ("query", "key", "value"), np.split(x, 3), strict=True
      ):
        found[name.replace(f"in_proj_{kind}", f"{part}.{kind}")] = value
    else:
      found[name] = x
  return found


def pushed(method: Method, state: State) -> tuple[State, Metrics]:
  """Nothing is pushed: a prototype is a token of the image at hand.

  Raises:
    UserError: always.
  """
  del method, state
  raise UserError("--push: PEM has no prototypes that could be pushed")
