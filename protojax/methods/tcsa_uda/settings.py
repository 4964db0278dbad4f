"""What a config of TCSA-UDA may say."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.methods.tcsa_uda import relations, words
from protojax.types import UserError

_STEPS = ranges.whole(0, 10_000_000)
# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "data.void": ranges.whole(-1, 65_535),
  "warm.steps": _STEPS,
  "adapt.steps": _STEPS,
  "adapt.ramp": ranges.SHARE,
  "adapt.confidence": ranges.SHARE,
  "entropy.weight": ranges.WEIGHT,
  "entropy.views": ranges.whole(1, 64),
  "adapt.patience": ranges.EPOCHS,
  "decoder.widths": ranges.CHANNELS,
  "decoder.channels": ranges.CHANNELS,
  "head.hidden": ranges.CHANNELS,
  "auxiliary.rates": ranges.whole(1, 512),
  "auxiliary.weight": ranges.WEIGHT,
  "adversary.width": ranges.CHANNELS,
  "adversary.layers": ranges.whole(1, 8),
  "adversary.stride": ranges.whole(1, 64),
  "adversary.weight": ranges.WEIGHT,
  "adversary.auxiliary": ranges.WEIGHT,
  "relations.weight": ranges.WEIGHT,
  "relations.decay": ranges.SHARE,
  "prototypes.weight": ranges.WEIGHT,
  "prototypes.decay": ranges.SHARE,
  "optimizer.rate": ranges.RATE,
  "optimizer.others": ranges.Range(0.0, 1e4),
  "optimizer.adversary": ranges.RATE,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.power": ranges.Range(0.0, 10.0),
  "backbone.widths": ranges.CHANNELS,
}
_KINDS = ("adamw", "sgd")
_NORMS = ("batch", "group")


def require(config: ConfigDict) -> None:
  """Refuses a config that TCSA-UDA cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  for key, value, known in (
    ("relations.mode", config.relations.mode, relations.MODES),
    ("text.kind", config.text.kind, words.KINDS),
    ("optimizer.kind", config.optimizer.kind, _KINDS),
    ("decoder.norm", config.decoder.norm, _NORMS),
  ):
    if value not in known:
      raise UserError(f"--config.{key}={value!r}: choose {', '.join(known)}")
  if config.backbone.norm_by_domain and config.decoder.norm != "batch":
    raise UserError(
      "--config.backbone.norm_by_domain is of BatchNorm, and"
      f" --config.decoder.norm={config.decoder.norm}: choose batch"
    )
  if config.text.kind in ("array", "matrix") and not config.text.file:
    raise UserError(
      f"--config.text.kind={config.text.kind} needs a file: give it with"
      " --config.text.file=FILE"
    )
  if config.text.conditioning and config.text.kind in ("matrix", "strokes"):
    raise UserError(
      f"--config.text.conditioning needs vectors of words, and"
      f" --config.text.kind={config.text.kind} has relations alone: choose"
      " tfidf, encoder or array"
    )
  if config.relations.mode == "copt" and config.text.kind in (
    "matrix",
    "strokes",
  ):
    raise UserError(
      "--config.relations.mode=copt compares covariances of vectors, and"
      f" --config.text.kind={config.text.kind} has none: choose another kind"
    )
