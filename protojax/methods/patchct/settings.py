"""What the config of PatchCT may say, checked before anything is read."""

from typing import Any

from ml_collections import ConfigDict

from protojax import ranges
from protojax.backbones.backbone import Backbone
from protojax.methods.patchct import network, transport
from protojax.methods.patchct.labels import EARLY
from protojax.types import UserError

_RATES = {
  f"{stage}.{name}": ranges.RATE
  for stage in ("align", "train")
  for name in ("rate", "backbone", "text", "labels")
}
# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  **_RATES,
  "align.epochs": ranges.EPOCHS,
  "train.epochs": ranges.EPOCHS,
  "channels": ranges.COUNT,
  "head.scale": ranges.Range(0.0, 100.0, above=True),
  "transport.temperature": ranges.Range(network.COLDEST, network.WARMEST),
  "transport.forward": ranges.WEIGHT,
  "transport.backward": ranges.WEIGHT,
  "transport.null": ranges.Range(0.0, 1.0, below=True),
  "loss.transport": ranges.WEIGHT,
  "loss.patches": ranges.WEIGHT,
  "loss.absent": ranges.WEIGHT,
  "loss.margin": ranges.Range(-1.0, 1.0),
  "loss.positive": ranges.Range(0.0, 100.0),
  "loss.negative": ranges.Range(0.0, 100.0),
  "loss.clip": ranges.Range(0.0, 1.0, below=True),
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.warmup": ranges.Range(0.0, 1.0),
  "optimizer.clip_norm": ranges.WEIGHT,
  "optimizer.average": ranges.Range(0.0, 1.0, below=True),
}
_CHOICES = {
  "transport.cost": transport.COSTS,
  "transport.theta": ("uniform", "attention"),
  "text.early": EARLY,
}


def require(config: ConfigDict) -> None:
  """Refuses a config that PatchCT cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  for key, known in _CHOICES.items():
    group, _, name = key.partition(".")
    value = config[group][name]
    if value not in known:
      raise UserError(f"--config.{key}={value!r}: choose {' or '.join(known)}")
  t = config.text
  if not t.name and (t.trainable or t.early != "shared"):
    raise UserError(
      "--config.text.trainable and text.early=tower need a text tower: name one"
      " with --config.text.name"
    )


def levels(backbone: Backbone, names: tuple[str, ...]) -> tuple[str, ...]:
  """Names of the used layers before the last.

  Args:
    backbone: the image tower.
    names: of its layers; ("all",) takes each.

  Raises:
    UserError: there is no such layer.
  """
  known: Any = [level.name for level in backbone.levels]
  # The last level is the answer itself, behind a norm if the tower has one.
  if names == ("all",):
    return tuple(known[:-1])
  if unknown := [name for name in names if name not in known]:
    raise UserError(
      f"--config.layers: the backbone has no layer {', '.join(unknown)}; choose"
      f" from {', '.join(known) or 'those of another backbone'}, or all"
    )
  return tuple(name for name in names if name != known[-1])
