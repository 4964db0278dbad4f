"""What the numbers and names of a config may be."""

from typing import Any

from protojax import ranges
from protojax.methods.neurogaze_distill import distillation, losses, teacher
from protojax.methods.neurogaze_distill.grid_bank import CONTROLS
from protojax.types import UserError

_TEMPERATURE = ranges.Range(0.0, 1e3, above=True)
# See also `ranges.EVERYWHERE`.
RANGES = {
  "modality.batch_size": ranges.COUNT,
  "modality.size": ranges.SIDE,
  "modality.channels": ranges.CHANNELS,
  "modality.seconds": ranges.Range(0.0, 86_400.0, above=True),
  # -1: as the data set says.
  "modality.margin": ranges.Range(-1.0, 86_400.0),
  "teacher.epochs": ranges.EPOCHS,
  "teacher.patience": ranges.EPOCHS,
  "teacher.widths": ranges.CHANNELS,
  "teacher.rate": ranges.RATE,
  "teacher.weight_decay": ranges.DECAY,
  "bank.rows": ranges.whole(1, 100),
  "bank.columns": ranges.whole(1, 100),
  "bank.low": ranges.SIGNED_WEIGHT,
  "bank.high": ranges.SIGNED_WEIGHT,
  "bank.channels": ranges.CHANNELS,
  "bank.nearest": ranges.whole(1, 100),
  "image_teacher.epochs": ranges.EPOCHS,
  "image_teacher.rate": ranges.RATE,
  "ce.label_smoothing": ranges.HELD_OUT,
  "kd_mse.weight": ranges.WEIGHT,
  "kd_mse.temperature": _TEMPERATURE,
  "kd_mse.scale": ranges.WEIGHT,
  "proto_kd.weight": ranges.WEIGHT,
  "proto_kd.tau": _TEMPERATURE,
  "proto_kd.temperature": _TEMPERATURE,
  "proto_kd.sigma": _TEMPERATURE,
  "d_geo.weight": ranges.WEIGHT,
  "d_geo.start_epoch": ranges.EPOCHS,
  "d_geo.end_epoch": ranges.EPOCHS,
  # Unit vectors are at most 2 apart.
  "d_geo.hard_gate": ranges.Range(0.0, 4.0),
  "d_geo.margin": ranges.Range(0.0, 2.0),
  "d_geo.decay": ranges.HELD_OUT,
  "optim.epochs": ranges.COUNT,
  "optim.rate": ranges.RATE,
  "optim.warmup": ranges.whole(0, 10**9),
  "optim.weight_decay": ranges.DECAY,
  "optim.clip_norm": ranges.WEIGHT,
  "optim.patience": ranges.EPOCHS,
}
_CHOICES = {
  "kd_mse.form": losses.FORMS,
  "kd_mse.source": ("image", "prototype"),
  "proto_kd.mode": losses.MODES,
  "proto_kd.target": losses.TARGETS,
  "d_geo.schedule": distillation.SCHEDULES,
  "teacher.loss": teacher.LOSSES,
  "bank.control": tuple(CONTROLS),
}


def require_known(config: Any) -> tuple[str, ...]:
  """The splits of the run's data.

  Raises:
    UserError: a name is none of those that there are, or a stage has patience
      and no image to choose by.
  """
  for key, known in _CHOICES.items():
    group, name = key.split(".")
    value = config[group][name]
    if value not in known:
      raise UserError(
        f"--config.{key} is {value!r}; choose one of"
        f" {', '.join(map(repr, known))}"
      )
  held = config.data.validation_fraction
  for key in ("optim.patience", "teacher.patience"):
    group, name = key.split(".")
    if config[group][name] and not held:
      raise UserError(
        f"--config.{key}={config[group][name]} needs examples to choose by: set"
        " --config.data.validation_fraction=0.1, or the patience to 0"
      )
  return ("train", "validation", "test") if held else ("train", "test")
