"""What the config of PEM may say, checked before anything is read."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.methods.pem import attention
from protojax.types import UserError

_SHARE = ranges.Range(0.0, 1.0)
# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "train.steps": ranges.whole(0, 10_000_000),
  "train.rate": ranges.RATE,
  "train.backbone": ranges.SHARE,
  "train.end": ranges.RATE,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.clip_norm": ranges.Range(0.0, 1e6),
  "pixels.channels": ranges.CHANNELS,
  "pixels.mask_channels": ranges.CHANNELS,
  "decoder.queries": ranges.whole(1, 10_000),
  "decoder.channels": ranges.CHANNELS,
  "decoder.heads": ranges.whole(1, 1_024),
  "decoder.layers": ranges.whole(1, 100),
  "decoder.width": ranges.CHANNELS,
  "attention.chunk": ranges.whole(1, 1 << 24),
  "loss.points": ranges.whole(0, 1 << 24),
  "loss.oversample": ranges.Range(1.0, 100.0),
  "loss.importance": _SHARE,
  "loss.no_object": ranges.WEIGHT,
  "loss.classes": ranges.WEIGHT,
  "loss.masks": ranges.WEIGHT,
  "loss.dice": ranges.WEIGHT,
  "found.score": _SHARE,
  "found.overlap": _SHARE,
}
TASKS = ("semantic", "panoptic")
ACROSS = ("queries", "channels")


def require(config: ConfigDict) -> None:
  """Refuses a config that PEM cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  a, d = config.attention, config.decoder
  for key, value, known in (
    ("task", config.task, TASKS),
    ("attention.kind", a.kind, attention.KINDS),
    ("attention.across", a.across, ACROSS),
  ):
    if value not in known:
      raise UserError(f"--config.{key}={value!r}: choose {' or '.join(known)}")
  if a.parity and a.kind == "masked":
    raise UserError(
      "--config.attention.parity is a rule of PEM's code, and"
      " --config.attention.kind is 'masked': set parity to False"
    )
  if d.channels % d.heads:
    raise UserError(
      f"--config.decoder.channels={d.channels} do not divide over"
      f" --config.decoder.heads={d.heads}"
    )
  if d.channels % 4:
    raise UserError(
      f"--config.decoder.channels={d.channels}: rows and columns are sines and"
      " cosines, so that it must divide by 4"
    )
  if config.batch_size // config.accumulate < 2:
    raise UserError(
      "the pixel decoder normalises the mean of each image over the batch: of"
      f" one image nothing is left. --config.batch_size={config.batch_size}"
      f" over --config.accumulate={config.accumulate} must be 2 or more"
    )


def require_levels(strides: tuple[int, ...], image_size: int) -> None:
  """Refuses levels that do not halve each other, or do not fill the image.

  Args:
    strides: of the levels, in the order of the config.
    image_size: pixels on a side.

  Raises:
    UserError: says what was found and what is expected.
  """
  halved = [strides[0] * 2**i for i in range(len(strides))] if strides else []
  if len(strides) < 2 or list(strides) != halved:
    raise UserError(
      f"--config.backbone.levels have strides of {strides} pixels: give two or"
      " more, the finest first, each with twice the stride of the one before"
    )
  if image_size % strides[-1]:
    raise UserError(
      f"--config.data.image_size={image_size} is no multiple of"
      f" {strides[-1]}, the stride of the coarsest of"
      " --config.backbone.levels"
    )
