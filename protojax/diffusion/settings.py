"""What the configs of diffusion models have in common, checked and made."""

from typing import NamedTuple

from ml_collections import ConfigDict

from protojax import ranges
from protojax.diffusion import transformer
from protojax.diffusion.processes import Diffusion, Flow, Process
from protojax.types import UserError

PROCESSES = ("flow", "ddpm")
DTYPES = ("float32", "bfloat16")
# Of the config's numbers; see also `ranges.EVERYWHERE`.
RANGES = {
  "steps": ranges.whole(0, 2**31 - 1),
  "drop": ranges.Range(0.0, 1.0, below=True),
  "space.channels": ranges.whole(1, 64),
  "network.channels": ranges.CHANNELS,
  "network.depth": ranges.whole(1, 1_000),
  "network.heads": ranges.COUNT,
  "network.patch": ranges.whole(1, 64),
  "network.ratio": ranges.Range(0.0, 64.0, above=True),
  "optimizer.rate": ranges.RATE,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.clip_norm": ranges.WEIGHT,
  # With 1 the average would stay as the network began.
  "optimizer.average": ranges.Range(0.0, 1.0, below=True),
  "sample.steps": ranges.whole(1, 100_000),
  "sample.guidance": ranges.Range(0.0, 1e3),
  "evaluation.times": ranges.whole(1, 1_000),
}


class Size(NamedTuple):
  """Of a transformer: see `transformer.DiT`."""

  channels: int
  depth: int
  heads: int


def size(n: ConfigDict) -> Size:
  """Of the paper's size, or the config's own."""
  if n.size:
    return Size(*transformer.SIZES[n.size])
  return Size(n.channels, n.depth, n.heads)


def process(config: ConfigDict) -> Process:
  """From images to noise."""
  p = config.process
  if p.kind != "flow":
    return Diffusion(schedule=p.schedule)
  # Not all methods have it.
  return Flow(mean=p.get("mean", 0.0))


def require_choice(
  config: ConfigDict, key: str, known: tuple[str, ...]
) -> None:
  """Refuses a name that is not known.

  Args:
    config: of the run.
    key: as in "process.kind".
    known: names.

  Raises:
    UserError: says which there are.
  """
  group, name = key.split(".")
  if config[group][name] not in known:
    raise UserError(
      f"--config.{key}={config[group][name]!r}: choose from"
      f" {', '.join(map(repr, known))}"
    )


def require_transformer(config: ConfigDict) -> None:
  """Refuses sizes of process and transformer that do not fit together.

  Raises:
    UserError: says which.
  """
  require_choice(config, "process.kind", PROCESSES)
  require_choice(config, "network.dtype", DTYPES)
  require_choice(config, "network.size", ("", *transformer.SIZES))
  found = size(config.network)
  if found.channels % 4 or found.channels % found.heads:
    raise UserError(
      f"--config.network.channels={found.channels} must be a multiple of 4 and"
      f" of --config.network.heads={found.heads}"
    )
  if config.data.image_size % config.network.patch:
    raise UserError(
      f"--config.data.image_size={config.data.image_size} does not divide into"
      f" patches of --config.network.patch={config.network.patch}"
    )
