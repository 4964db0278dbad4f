"""What the config of FoPro may say, checked before anything is read."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import backbones, ranges
from protojax.engine.optimizer import warmup_cosine
from protojax.methods.fopro import cleaning
from protojax.methods.fopro.network import POOLINGS, Network
from protojax.methods.fopro.objective import Settings, Weights
from protojax.types import UserError

_TERMS = Weights._fields
# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "data.shots": ranges.whole(0, 100_000),
  "network.hidden": ranges.whole(0, 65_536),
  "network.channels": ranges.CHANNELS,
  "network.relation": ranges.COUNT,
  "queue.size": ranges.whole(1, 1 << 20),
  "queue.momentum": ranges.SHARE,
  "prototypes.momentum": ranges.SHARE,
  "prototypes.web": ranges.COUNT,
  "loss.temperature": ranges.Range(0.0, 100.0, above=True),
  "loss.margin": ranges.SHARE,
  "loss.alpha": ranges.SHARE,
  **{f"loss.{name}": ranges.WEIGHT for name in _TERMS},
  "cleaning.mode": ranges.whole(cleaning.NOTHING, cleaning.BOTH),
  "cleaning.threshold": ranges.SHARE,
  "cleaning.distance": ranges.WEIGHT,
  "plain.epochs": ranges.EPOCHS,
  "plain.dropped": ranges.HELD_OUT,
  "stages.frozen": ranges.EPOCHS,
  "stages.start": ranges.EPOCHS,
  "stages.contrast": ranges.EPOCHS,
  "stages.relate": ranges.EPOCHS,
  "stages.clean": ranges.EPOCHS,
  "stages.plan": ranges.EPOCHS,
  "mixup.epochs": ranges.EPOCHS,
  "mixup.rate": ranges.RATE,
  "mixup.beta": ranges.Range(0.0, 100.0, above=True),
  "mixup.probability": ranges.SHARE,
  "optimizer.rate": ranges.RATE,
  "optimizer.relation": ranges.RATE,
  "optimizer.weight_decay": ranges.DECAY,
  "optimizer.momentum": ranges.HELD_OUT,
  "optimizer.late": ranges.EPOCHS,
  "optimizer.late_momentum": ranges.HELD_OUT,
  "optimizer.warmup": ranges.EPOCHS,
}
# "" is the whole method; "plain" is cross entropy alone, "loss" the same
# without the images of the largest losses.
BASELINES = ("", "plain", "loss")
_CHOICES = {
  "baseline": BASELINES,
  "network.pooling": POOLINGS,
  "prototypes.start": ("shots", "web"),
  "cleaning.confidence": ("given", "corrected"),
  "cleaning.relation": ("clean", "replaced"),
  "optimizer.name": ("adam", "sgd"),
}


def require(config: ConfigDict) -> None:
  """Refuses a config that FoPro cannot run.

  Raises:
    UserError: names the key, the value and what is expected.
  """
  ranges.require(config, _RANGES)
  for key, known in _CHOICES.items():
    value: Any = config
    for name in key.split("."):
      value = value[name]
    if value not in known:
      named = ", ".join(map(repr, known))
      raise UserError(f"--config.{key}={value!r}: choose from {named}")
  if config.queue.size < config.batch_size:
    raise UserError(
      f"--config.queue.size={config.queue.size} is smaller than a batch"
      f" (--config.batch_size={config.batch_size}): each batch goes into the"
      " queue whole"
    )
  s = config.stages
  used = s.frozen + s.start + s.contrast
  if s.plan < max(used, s.clean):
    raise UserError(
      f"--config.stages.plan={s.plan} epochs, along which the rate falls, are"
      f" fewer than those of the first stage ({used}) or of the last"
      f" ({s.clean})"
    )
  asks = config.cleaning.mode in (cleaning.RELATION, cleaning.BOTH)
  if not config.baseline and asks and s.clean and not s.relate:
    raise UserError(
      f"--config.cleaning.mode={config.cleaning.mode} asks the relation module,"
      " which --config.stages.relate=0 does not train: give it epochs, or set"
      " cleaning.mode to 1"
    )


def network(config: ConfigDict, class_names: tuple[str, ...]) -> Network:
  """The network of a config."""
  b, n = config.backbone, config.network
  return Network(
    backbones.load(b.name, b.dtype, b.remat),
    config.data.image_size,
    class_names,
    n.pooling,
    n.hidden,
    n.channels,
    n.relation,
    config.queue.size,
    config.loss.temperature,
  )


def settings(config: ConfigDict) -> Settings:
  """What the config says of the losses."""
  c, loss = config.cleaning, config.loss
  return Settings(
    temperature=loss.temperature,
    margin=loss.margin,
    alpha=loss.alpha,
    density=loss.density,
    momentum=config.prototypes.momentum,
    follow=config.queue.momentum,
    threshold=c.threshold,
    distance=c.distance,
    corrected=c.confidence == "corrected",
    replaced=c.relation == "replaced",
    weights=Weights(*(loss[name] for name in _TERMS)),
  )


@dataclasses.dataclass(frozen=True)
class Rates:
  """The optimiser along the plan of epochs.

  Attributes:
    config: group "optimizer".
    plan: epochs along which the rate falls.
    steps_per_epoch: of all stages.
  """

  config: Any
  plan: int
  steps_per_epoch: int

  def rule(self, begin: int, late: bool = False) -> Any:
    """The optimiser of a stage that begins at an epoch of the plan.

    Args:
      begin: the epoch.
      late: with the momentum of late epochs.
    """
    c, each = self.config, self.steps_per_epoch
    along = warmup_cosine(c.rate, c.warmup * each, self.plan * each)
    return self._rule(lambda count: along(count + begin * each), late)

  def of_relation(self, length: int) -> Any:
    """The optimiser of the stage that trains the relation module alone."""
    steps = max(length * self.steps_per_epoch, 1)
    return self._rule(optax.cosine_decay_schedule(self.config.relation, steps))

  def of_mixup(self, rate: float, length: int) -> Any:
    """The optimiser of the last, short stage."""
    steps = max(length * self.steps_per_epoch, 1)
    return self._rule(optax.cosine_decay_schedule(rate, steps))

  def _rule(self, rate: Any, late: bool = False) -> Any:
    c = self.config
    momentum = c.late_momentum if late else c.momentum
    # PyTorch adds the decay to the gradient.
    decay = optax.add_decayed_weights(c.weight_decay)
    kind = optax.scale_by_adam(b1=momentum)
    if c.name == "sgd":
      kind = optax.trace(momentum)
    return optax.chain(decay, kind, optax.scale_by_learning_rate(rate))


def class_weights(
  given: np.ndarray | None, wanted: bool, classes: int
) -> np.ndarray:
  """Weights of cross entropies by class; ones, if they are not wanted.

  Raises:
    UserError: they are wanted, and the data set has none.
  """
  if not wanted:
    return np.ones(classes, np.float32)
  if given is None:
    raise UserError(
      "--config.loss.class_weights=True: this data set has no weights of"
      " classes, as the lists of WebVision do; leave it out"
    )
  return np.asarray(given, np.float32)
