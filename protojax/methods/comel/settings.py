"""Checks the config of CoMEL, and turns it into its parts."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from protojax import ranges
from protojax.methods.comel import grouping, pseudo_labels
from protojax.methods.comel.network import Network
from protojax.methods.comel.pseudo_labels import Settings
from protojax.types import UserError

# "": CoMEL. "abmil" has no block and no pseudo labels, and is fine-tuned.
BASELINES = ("", "abmil", "finetune", "ewc", "lwf", "er")
MODES = ("reparam", "gradproj", "none")
_SIDE = ranges.whole(1, 256)
RANGES = {
  "learned": ranges.whole(0, 1000),
  "network.channels": ranges.CHANNELS,
  "network.width": ranges.CHANNELS,
  "network.heads": ranges.whole(1, 1024),
  "network.blocks": ranges.whole(0, 100),
  "network.hidden": ranges.CHANNELS,
  "network.scorer": ranges.CHANNELS,
  "network.side": _SIDE,
  "network.chunk": ranges.whole(1, 1 << 24),
  "network.dropout": ranges.HELD_OUT,
  "network.block_dropout": ranges.HELD_OUT,
  "bppl.weight": ranges.WEIGHT,
  "bppl.temperature": ranges.Range(0.0, 1e3, above=True),
  "bppl.confidence": ranges.SHARE,
  "bppl.quality": ranges.SHARE,
  "bppl.apart": ranges.WEIGHT,
  "adapters.rank": ranges.whole(1, 4096),
  "adapters.qkv_rank": ranges.whole(1, 4096),
  "adapters.energy": ranges.Range(0.0, 1.0, above=True, below=True),
  "adapters.orthonormal": ranges.WEIGHT,
  "continual.ewc": ranges.WEIGHT,
  "continual.ewc_decay": ranges.SHARE,
  "continual.lwf": ranges.WEIGHT,
  "continual.lwf_temperature": ranges.Range(0.0, 1e3, above=True),
  "continual.er_bags": ranges.COUNT,
  # Of embedded bags.
  "data.bags": ranges.whole(1, 100_000),
  "data.least": ranges.whole(1, 1_000_000),
  "data.most": ranges.whole(1, 1_000_000),
  "train.epochs": ranges.whole(1, 100_000),
  "train.rate": ranges.RATE,
  "train.weight_decay": ranges.DECAY,
}


def require(config: ConfigDict) -> None:
  """Refuses settings that would fail only in the middle.

  Raises:
    UserError: names the key, its value and what it may be.
  """
  ranges.require(config, RANGES)
  c = config
  _one_of("baseline", c.baseline, BASELINES)
  _one_of("adapters.mode", c.adapters.mode, MODES)
  _one_of("network.grouping", c.network.grouping, grouping.GROUPINGS)
  _one_of("bppl.features", c.bppl.features, pseudo_labels.FEATURES)
  _one_of("bppl.kept", c.bppl.kept, pseudo_labels.KEPT)
  _one_of("bppl.background", c.bppl.background, pseudo_labels.BACKGROUNDS)
  if c.network.width % c.network.heads:
    raise UserError(
      f"--config.network.width={c.network.width} does not divide into"
      f" --config.network.heads={c.network.heads} heads"
    )
  if c.learned and not c.init_from:
    raise UserError(
      f"--config.learned={c.learned} tasks of another run: name the run with"
      " --init-from, or set it to 0"
    )


def network(config: ConfigDict, tasks: int) -> Network:
  """The network of a stream of tasks."""
  c = config.network
  return Network(
    channels=c.channels,
    width=c.width,
    heads=c.heads,
    blocks=0 if config.baseline == "abmil" else c.blocks,
    hidden=c.hidden,
    scorer=c.scorer,
    side=c.side,
    grouping=c.grouping,
    chunk=c.chunk,
    tasks=tasks,
    dropout=(c.dropout, c.block_dropout),
  )


def labels(config: ConfigDict) -> Settings:
  """How instances get pseudo labels."""
  found = Settings(**config.bppl.to_dict())
  if config.baseline == "abmil":
    return Settings(weight=0.0)
  return found


def ranks(config: ConfigDict, network: Network) -> dict[str, int] | None:
  """The rank of each kernel's adapters; None if there are no adapters."""
  if config.baseline:
    return None
  c = config.adapters
  return {
    name: min(c.qkv_rank if name.endswith("qkv") else c.rank, *shape)
    for name, shape in network.kernels.items()
  }


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    named = ", ".join(repr(name) for name in known)
    raise UserError(f"--config.{key} is {value!r}; choose from {named}.")
