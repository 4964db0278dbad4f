"""Checks the config, and makes the network of it."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.agents import selfplay
from protojax.backbones.convnet import ConvNet
from protojax.datasets import dialogue_pictures
from protojax.methods.proactive_agents.network import (
  Answering,
  Encoding,
  Network,
)
from protojax.types import UserError

_STEPS = ranges.whole(0, 2**31 - 1)
# Of the config's numbers; see also `ranges.EVERYWHERE`.
RANGES = {
  "network.channels": ranges.CHANNELS,
  "network.hidden": ranges.CHANNELS,
  "network.vector": ranges.CHANNELS,
  "vqa.steps": _STEPS,
  "vqa.questions": ranges.COUNT,
  "encoder.steps": _STEPS,
  "optimizer.rate": ranges.RATE,
  "optimizer.warmup": _STEPS,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.clip_norm": ranges.Range(0.0, 1e6),
  "policy.goals": ranges.whole(1, 100_000),
  "policy.turns": ranges.whole(1, 100),
  "play.goals": ranges.whole(1, 100_000),
  "play.turns": ranges.whole(1, 100),
}


def require(config: ConfigDict) -> None:
  """Refuses unknown settings, and settings that do not fit together.

  Raises:
    UserError: says which.
  """
  ranges.require(config, RANGES)
  if config.data.image_size != dialogue_pictures.SIDE:
    raise UserError(
      f"--config.data.image_size={config.data.image_size}: scenes are painted"
      f" with {dialogue_pictures.SIDE} pixels a side"
    )
  for name in config.play.policies:
    if name not in selfplay.POLICIES:
      raise UserError(
        f"--config.play.policies has {name!r}: choose from"
        f" {', '.join(selfplay.POLICIES)}"
      )
  if not config.network.channels:
    raise UserError("--config.network.channels is empty: give at least one")
  if not config.data.validation_fraction:
    raise UserError(
      "--config.data.validation_fraction=0: the answers are calibrated on"
      " held-out scenes; set 0.05"
    )


def network(config: ConfigDict) -> Network:
  """The layers; every convolution but the last halves the map."""
  n = config.network
  last = len(n.channels) - 1
  strides = [1 if i == last and last else 2 for i in range(last + 1)]
  return Network(
    ConvNet(
      dtype=n.dtype, convolutions=tuple(zip(n.channels, strides, strict=True))
    ),
    Answering(n.hidden),
    Encoding(n.hidden, n.vector),
    config.data.image_size,
  )
