"""What the config of the method may say, checked before anything is read."""

from ml_collections import ConfigDict

from protojax import ranges
from protojax.methods.noisy_pseudo_label_diffusion import trust
from protojax.methods.noisy_pseudo_label_diffusion.objective import (
  Settings,
  Weights,
)
from protojax.types import UserError

_SHARE = ranges.SHARE
# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "unlabelled_batch_size": ranges.whole(1, 1 << 20),
  "data.labelled": ranges.Range(0.0, 1.0, above=True),
  "denoiser.channels": ranges.CHANNELS,
  "denoiser.blocks": ranges.whole(1, 100),
  "denoiser.kernel": ranges.whole(1, 99),
  "denoiser.bits": ranges.Range(0.0, 100.0, above=True),
  "sampler.steps": ranges.whole(1, 1000),
  "sampler.seeds": ranges.whole(1, 64),
  "prototypes.decay": _SHARE,
  "prototypes.temperature": ranges.Range(0.0, 100.0, above=True),
  "trust.threshold": ranges.Range(-1.0, 1.0),
  "teacher.decay": _SHARE,
  "loss.pseudo": ranges.WEIGHT,
  "loss.contrast": ranges.WEIGHT,
  "loss.consistency": ranges.WEIGHT,
  "loss.separation": ranges.WEIGHT,
  "loss.margin": ranges.Range(-1.0, 1.0),
  "loss.aligned": _SHARE,
  "loss.ramp": _SHARE,
  "loss.least_time": ranges.Range(0.0, 0.999, below=True),
  "train.steps": ranges.whole(0, 10_000_000),
  "train.labelled": _SHARE,
  "train.rate": ranges.RATE,
  "train.backbone": _SHARE,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.clip_norm": ranges.Range(0.0, 1e6),
  "corruption.rate": _SHARE,
  "corruption.regions": ranges.whole(1, 10_000),
}
KINDS = ("diffusion", "plain")


def require(config: ConfigDict) -> None:
  """Refuses a config that the method cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  kind = config.denoiser.kind
  if kind not in KINDS:
    raise UserError(
      f"--config.denoiser.kind={kind!r}: choose {' or '.join(KINDS)}"
    )
  if not config.denoiser.kernel % 2:
    raise UserError(
      f"--config.denoiser.kernel={config.denoiser.kernel} has no middle: give"
      " an odd number of cells"
    )
  if config.data.strong.partition("+")[0] != "weak":
    raise UserError(
      f"--config.data.strong={config.data.strong!r} must go on from the weak"
      " view, whose pseudo-labels it learns, such as 'weak+colour,blur'"
    )


def require_levels(strides: tuple[int, ...], image_size: int) -> None:
  """Refuses levels whose first is not the finest, or an image too small.

  Args:
    strides: of the levels, in the order of the config.
    image_size: pixels on a side.

  Raises:
    UserError: says what was found and what is expected.
  """
  if not strides or list(strides) != sorted(strides):
    raise UserError(
      f"--config.backbone.levels have strides of {strides} pixels: give one or"
      " more, the finest first"
    )
  if image_size % strides[0]:
    raise UserError(
      f"--config.data.image_size={image_size} is no multiple of {strides[0]},"
      " the stride of the finest of --config.backbone.levels"
    )


def of_loss(config: ConfigDict) -> Settings:
  """What the loss needs of a config."""
  c = config.loss
  t = config.trust
  return Settings(
    Weights(c.pseudo, c.contrast, c.consistency, c.separation),
    c.margin,
    config.prototypes.decay,
    config.teacher.decay,
    c.aligned,
    1000 * c.least_time,
    trust.Rule(t.threshold, t.agreement, t.accord),
    c.ramp,
    config.corruption.regions,
    config.backbone.train_norm,
  )
