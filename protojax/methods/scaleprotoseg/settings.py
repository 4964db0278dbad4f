"""What the config of ScaleProtoSeg may say, checked before anything is read."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.types import UserError

_STEPS = ranges.whole(0, 10_000_000)
_RATES = {
  "warm": ("aspp", "prototypes"),
  "joint": ("backbone", "aspp", "prototypes"),
  "last": ("head",),
  "group": ("weights",),
  "refine": ("weights", "head"),
}
# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  **{f"{stage}.steps": _STEPS for stage in _RATES},
  **{
    f"{s}.{name}": ranges.RATE for s, names in _RATES.items() for name in names
  },
  "aspp.rates": ranges.whole(1, 512),
  "aspp.channels": ranges.CHANNELS,
  "sizes": ranges.Range(0.0, 1.0, above=True, below=True),
  "prototypes.per_class": ranges.whole(0, 10_000),
  "groups.per_class": ranges.whole(0, 10_000),
  "groups.threshold": ranges.SHARE,
  "loss.diversity": ranges.WEIGHT,
  "loss.foreign": ranges.WEIGHT,
  "loss.group_foreign": ranges.WEIGHT,
  "loss.entropy": ranges.WEIGHT,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.power": ranges.Range(0.0, 10.0),
  "prune.nearest": ranges.whole(0, 1_000),
  "prune.least": ranges.whole(0, 1_000),
}
_ON = ("distance", "similarity")


def require(config: ConfigDict) -> None:
  """Refuses a config that ScaleProtoSeg cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  if config.loss.on not in _ON:
    raise UserError(
      f"--config.loss.on={config.loss.on!r}: choose {' or '.join(_ON)}"
    )
  if not config.aspp.rates:
    raise UserError("--config.aspp.rates is (): give one dilation or more")
  if config.prune.least > config.prune.nearest:
    raise UserError(
      f"--config.prune.least is {config.prune.least}; of"
      f" --config.prune.nearest={config.prune.nearest} images no more can show"
      " the class"
    )
