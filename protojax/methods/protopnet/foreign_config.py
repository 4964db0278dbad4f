"""Translates the three files of a CaBRNet experiment into a config.

CaBRNet describes a ProtoPNet by model_arch.yml, dataset.yml and training.yml.
"""

from collections.abc import Callable, Mapping
import os
import re
from typing import Any

from protojax import backbones
from protojax.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from protojax.methods.protopnet import cabrnet
from protojax.prototypes import foreign_parts
from protojax.shown import shown
from protojax.types import UserError
from protojax.weights.yaml_keys import Keys

# Key of our config -> value.
Changes = dict[str, Any]

# What is declared of configs; see `protojax.methods`.
TEXT = '''"""ProtoPNet with the settings of a CaBRNet experiment.

python train.py --config=THIS_FILE --workdir=DIR

Variants are those of `protopnet_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_folder
from protojax.configs.variants import apply

_CHANGES = {{
{changes}}}


def get_config(variants: str = "") -> ConfigDict:
  """The paper's config with these changes."""
  config = protopnet_folder.get_config("paper").unlock()
  config.update_from_flattened_dict(_CHANGES)
  return apply(config, variants, protopnet_folder.VARIANTS)
'''

_NAME = "ProtoPNet"  # of the architecture
_GROUPS = {
  "extractor.convnet": "backbone",
  "extractor.add_on": "add_on",
  "classifier.prototypes": "prototypes",
  "classifier.last_layer": "head",
}
# Stage -> the groups of parameters that it has a learning rate for.
_RATES = {
  "warm": ("add_on", "prototypes"),
  "joint": ("backbone", "add_on", "prototypes"),
  "last": ("head",),
}
# torchvision's name -> ours.
_AUGMENTATIONS = {
  "RandomHorizontalFlip": "flip",
  "RandomResizedCrop": "crop",
  "ColorJitter": "colour",
  "RandomRotation": "rotate",
  "RandomPerspective": "skew",
}
# Keys -> the values for which protojax does the same without a setting.
_MET: tuple[tuple[str, tuple[Any, ...]], ...] = (
  (r"extractor\..*\.init_mode", ("PROTOPNET",)),
  (r"extractor\..*\.params\.bias", (True,)),
  (r"classifier\.params\.proto_init_mode", ("UNIFORM",)),
  (r".*_set\..*\.type", ("Resize", "CenterCrop", "ToTensor", "Normalize")),
  (r".*_set\..*\.params\.mean", (list(IMAGENET_MEAN),)),
  (r".*_set\..*\.params\.std", (list(IMAGENET_STD),)),
  (r"train_set\.shuffle", (True,)),
  (r"(test|projection)_set\.shuffle", (False,)),
)


def recognised(arch: Keys) -> bool:
  """Whether model_arch.yml describes a ProtoPNet; older files do not say."""
  return arch.value("top_arch.name") in (None, _NAME)


def matches(key: str, value: Any) -> bool:
  """Whether protojax does, without a setting, what a key asks for."""
  return any(
    re.fullmatch(pattern, key) and value in values for pattern, values in _MET
  )


def _model(keys: Keys) -> Changes:
  """Settings of the backbone, the add-on layers and the prototypes."""
  name = str(keys.take("extractor.backbone.arch")).lower()
  if name not in backbones.names():
    raise UserError(
      f"extractor.backbone.arch is {shown(name)}; choose from"
      f" {', '.join(backbones.names())}"
    )
  cabrnet.check_architecture(keys, name)
  layers = cabrnet.layers(keys)
  activation = cabrnet.activation(keys)
  shapes, width = [], backbones.load(name).channels
  for path in layers:
    if keys.has(f"{path}.params.out_channels"):
      out = _whole(keys, f"{path}.params.out_channels")
      side = _whole(keys, f"{path}.params.kernel_size")
      shapes.append((out, width, side, side))
      width = out
  for key in ("top_arch.module", "classifier.module"):
    keys.take(key)
  changes = {
    "backbone.name": name,
    **_weights(keys, name),
    "prototypes.channels": width,
    "prototypes.similarity": cabrnet.similarity(keys),
    "prototypes.add_on": foreign_parts.add_on_kind(shapes, width),
    "prototypes.activation": activation,
  }
  if keys.has("classifier.params.num_proto_per_class"):
    changes["prototypes.per_class"] = _whole(
      keys, "classifier.params.num_proto_per_class"
    )
  return changes


def _weights(keys: Keys, name: str) -> Changes:
  """The weights that the backbone starts from."""
  weights = keys.take("extractor.backbone.weights")
  if not weights or weights == "None":
    return {"backbone.pretrained": False}
  if weights == "IMAGENET1K_V1":
    weights = f"hf:timm/{name}.tv_in1k"
  return {"backbone.pretrained": True, "backbone.weights": str(weights)}


def _data(keys: Keys) -> Changes:
  """Folders, sizes and augmentations of the images."""
  changes, augmentations, middle = {}, [], 0
  for path in keys.below("train_set.params.transform"):
    kind = str(keys.value(f"{path}.type"))
    if kind == "Resize":
      # One number is the shorter side, and the aspect is kept.
      if isinstance(keys.value(f"{path}.params.size"), int):
        changes["data.resize"] = "aspect"
      changes["data.image_size"] = _side(keys, f"{path}.params.size")
    elif kind == "CenterCrop":
      middle = _side(keys, f"{path}.params.size")
    elif kind in _AUGMENTATIONS:
      augmentations.append(_AUGMENTATIONS[kind])
    elif kind != "ToTensor":
      continue
    keys.take(f"{path}.type")
  if middle and "data.image_size" in changes:
    changes["data.resize_size"] = changes["data.image_size"]
  if middle:
    changes["data.image_size"] = middle
  changes["data.augment"] = ",".join(augmentations)
  if keys.has("train_set.batch_size"):
    changes["batch_size"] = _whole(keys, "train_set.batch_size")
  return changes | _folders(keys)


def _folders(keys: Keys) -> Changes:
  """The folders of the images, if both are in the same folder."""
  sets = ("train_set", "test_set")
  if any(keys.value(f"{name}.name") != "ImageFolder" for name in sets):
    return {}
  roots = [str(keys.value(f"{name}.params.root")) for name in sets]
  above, inside = zip(
    *(os.path.split(root.rstrip("/")) for root in roots), strict=True
  )
  if above[0] != above[1]:
    return {}
  for name in sets:
    for key in ("name", "module", "params.root"):
      keys.take(f"{name}.{key}")
  return {
    "data.name": "folder",
    "data.root": above[0],
    "data.train": inside[0],
    "data.test": inside[1],
  }


def _training(keys: Keys) -> Changes:
  """Stages with their lengths and learning rates, the loss, and pruning."""
  groups = {
    path.removeprefix("param_groups."): _GROUPS[str(keys.take(path))]
    for path in keys.below("param_groups")
    if str(keys.value(path)) in _GROUPS
  }
  changes = {"warm.epochs": 0, "joint.epochs": 0}
  for path in keys.below("periods"):
    frozen = keys.take(f"{path}.freeze")
    names = frozen if isinstance(frozen, list) else [frozen]
    warm = "backbone" in [groups.get(str(name)) for name in names]
    stage = "warm" if warm else "joint"
    changes[f"{stage}.epochs"] += _epochs(keys, path)
    changes |= _rates(keys, keys.take(f"{path}.optimizers"), stage, groups)
  changes |= _rates(keys, "last_layer_optimizer", "last", groups)
  keys.take("num_epochs")

  pushes = "auxiliary_info.projection_config"
  changes["rounds"] = 1
  if keys.has(f"{pushes}.frequency"):
    every = max(1, _whole(keys, f"{pushes}.frequency"))
    changes["rounds"] = max(1, changes["joint.epochs"] // every)
    changes["joint.epochs"] //= changes["rounds"]
  changes |= {"prune.nearest": 0, "last.solver": "adam"}
  for key, (take, ours) in _NUMBERS.items():
    if keys.has(key):
      changes[ours] = take(keys, key)
  return changes


def _epochs(keys: Keys, path: str) -> int:
  """Number of epochs of a period, from a number or from first and last."""
  if keys.has(f"{path}.num_epochs"):
    return _whole(keys, f"{path}.num_epochs")
  match keys.take(f"{path}.epoch_range"):
    case [int(first), int(last)]:
      return last - first + 1
    case other:
      raise UserError(f"{path}.epoch_range is {shown(other)}, not two numbers")


def _rates(
  keys: Keys, name: str, stage: str, groups: Mapping[str, str]
) -> Changes:
  """Learning rates and weight decay for the groups of a stage."""
  path, changes = f"optimizers.{name}", {}
  if keys.value(f"{path}.type") == "Adam":
    keys.take(f"{path}.type")
  for group in keys.below(f"{path}.groups"):
    ours = groups.get(group.removeprefix(f"{path}.groups."))
    if ours in _RATES[stage] and keys.has(f"{group}.lr"):
      changes[f"{stage}.{ours}"] = _real(keys, f"{group}.lr")
      # In protojax, too, prototypes have no weight decay.
      if ours == "add_on" and keys.has(f"{group}.weight_decay"):
        decay = _real(keys, f"{group}.weight_decay")
        changes[f"{stage}.weight_decay"] = decay
  scheduler = f"{path}.scheduler"
  if stage == "joint" and keys.value(f"{scheduler}.type") == "StepLR":
    keys.take(f"{scheduler}.type")
    changes["joint.drop_epochs"] = _whole(keys, f"{scheduler}.params.step_size")
    changes["joint.drop"] = _real(keys, f"{scheduler}.params.gamma")
  return changes


def _whole(keys: Keys, name: str) -> int:
  value = keys.take(name)
  if not isinstance(value, int) or isinstance(value, bool):
    raise UserError(f"{name} is {shown(value)}, not a whole number")
  return value


def _real(keys: Keys, name: str) -> float:
  value = keys.take(name)
  try:
    # YAML reads 1e-4 as text, because it has no decimal point.
    return float(value)
  except (TypeError, ValueError) as error:
    raise UserError(f"{name} is {shown(value)}, not a number") from error


def _side(keys: Keys, name: str) -> int:
  """Side of an image in pixels, from one number or from two equal ones."""
  match keys.take(name):
    case [int(height), int(width)] if height == width:
      return height
    case int(side):
      return side
    case other:
      raise UserError(f"{name} is {shown(other)}; images must be square")


_NUMBERS: dict[str, tuple[Callable[[Keys, str], Any], str]] = {
  "auxiliary_info.loss_coefficients.clustering": (_real, "loss.cluster"),
  "auxiliary_info.loss_coefficients.separability": (_real, "loss.separation"),
  "auxiliary_info.loss_coefficients.regularization": (_real, "loss.l1"),
  "auxiliary_info.projection_config.num_ft_epochs": (_whole, "last.epochs"),
  "epilogue.num_nearest_patches": (_whole, "prune.nearest"),
  "epilogue.pruning_threshold": (_whole, "prune.threshold"),
  "epilogue.num_fine_tuning_epochs": (_whole, "prune.epochs"),
}
FILES = {
  "model_arch.yml": _model,
  "dataset.yml": _data,
  "training.yml": _training,
}
