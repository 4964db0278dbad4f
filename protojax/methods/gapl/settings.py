"""What the config of GAPL may say, checked before anything is read."""

import dataclasses

from ml_collections import ConfigDict

from protojax import backbones, ranges
from protojax.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, Backbone
from protojax.methods.gapl.network import Adapters, Network
from protojax.types import UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  # 0: all.
  "data.families": ranges.whole(0, 1_000),
  "first.generators": ranges.whole(0, 100_000),
  "first.epochs": ranges.EPOCHS,
  "first.rate": ranges.RATE,
  "second.epochs": ranges.EPOCHS,
  "second.rate": ranges.RATE,
  "adapters.rank": ranges.COUNT,
  "adapters.alpha": ranges.Range(0.0, 10_000.0, above=True),
  "adapters.dropout": ranges.HELD_OUT,
  "prototypes.count": ranges.whole(2, 65_536),
  "prototypes.channels": ranges.CHANNELS,
  "prototypes.heads": ranges.COUNT,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.warmup": ranges.SHARE,
  "optimizer.end": ranges.SHARE,
  "optimizer.clip_norm": ranges.WEIGHT,
}
# Baseline -> whether the encoder adapts, and whether there are prototypes.
_BASELINES = {
  "": (True, True),
  "linear": (False, False),
  "prototypes": (False, True),
  "random": (True, True),
  "lora": (True, False),
}
_NORMALISED = ("encoder", "imagenet")


def require(config: ConfigDict) -> None:
  """Refuses a config that GAPL cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  p = config.prototypes
  for key, value, known in (
    ("baseline", config.baseline, _BASELINES),
    ("backbone.normalise", config.backbone.normalise, _NORMALISED),
  ):
    if value not in known:
      named = ", ".join(map(repr, known))
      raise UserError(f"--config.{key}={value!r}: choose from {named}")
  if p.count % 2 or p.count // 2 > p.channels:
    raise UserError(
      f"--config.prototypes.count={p.count}: half of them are of each class,"
      f" and a class has at most {p.channels} directions"
      " (--config.prototypes.channels); give an even number of at most"
      f" {2 * p.channels}"
    )
  if p.channels % p.heads:
    raise UserError(
      f"--config.prototypes.channels={p.channels} do not divide over"
      f" --config.prototypes.heads={p.heads}"
    )


def network(config: ConfigDict) -> Network:
  """The network of a config."""
  c, p = config.adapters, config.prototypes
  adapts, has_prototypes = _BASELINES[config.baseline]
  given = Adapters(c.layers, c.rank, c.alpha, c.dropout)
  return Network(
    _backbone(config),
    config.data.image_size,
    p.channels,
    p.count if has_prototypes else 0,
    p.heads,
    given if adapts else None,
  )


def _backbone(config: ConfigDict) -> Backbone:
  b = config.backbone
  found = backbones.load(b.name, b.dtype, b.remat)
  if b.normalise == "imagenet":
    found = dataclasses.replace(found, mean=IMAGENET_MEAN, std=IMAGENET_STD)
  return found
