"""Times and noise of Stable Diffusion, as a folder's scheduler says.

Samplers are ours: DDIM along the times that diffusers' DDIMScheduler takes.
"""

import dataclasses
import functools
from pathlib import Path
from typing import NotRequired, TypedDict

from jaxtyping import Float
import numpy as np

from protojax import json_files
from protojax.diffusion import processes
from protojax.types import UserError

_PREDICTIONS = {"epsilon": "noise", "v_prediction": "v"}
_SCHEDULES = ("scaled_linear", "linear")
_SPACINGS = ("leading", "trailing")
_MOST = 100_000  # times


class _Config(TypedDict):
  """What is read of a scheduler_config.json; without it, as in diffusers."""

  _class_name: NotRequired[str]
  beta_start: NotRequired[float]
  beta_end: NotRequired[float]
  beta_schedule: NotRequired[str]
  num_train_timesteps: NotRequired[int]
  prediction_type: NotRequired[str]
  timestep_spacing: NotRequired[str]
  steps_offset: NotRequired[int]
  set_alpha_to_one: NotRequired[bool]
  clip_sample: NotRequired[bool]
  thresholding: NotRequired[bool]
  rescale_betas_zero_snr: NotRequired[bool]
  trained_betas: NotRequired[list[float] | None]


@dataclasses.dataclass(frozen=True)
class Schedule(processes.WholeTimes):
  """The process of a Stable Diffusion: a `processes.Process`.

  Attributes:
    prediction: "noise" or "v".
    first, last: share of noise in the first and in the last step.
    scaled: whether the square root of the share grows evenly, not the share.
    steps: number of noisy times.
    spacing: of a sampler's times, "leading" or "trailing".
    offset: that is added to the times of the former.
    clean: whether a sampler ends at -1; else at 0, where a little noise is
      left, as the weights were trained to be used.
  """

  prediction: str = "noise"
  first: float = 0.00085
  last: float = 0.012
  scaled: bool = True
  steps: int = 1000
  spacing: str = "leading"
  offset: int = 1
  clean: bool = False

  def times(self, steps: int) -> Float[np.ndarray, " n"]:
    """From noise down to the end: steps + 1 times.

    Raises:
      UserError: there are not so many times.
    """
    most = self.steps - (self.offset if self.spacing == "leading" else 0)
    if not 1 <= steps <= most:
      raise UserError(
        f"{steps} steps of a sampler; this model has times for 1 to {most}"
      )
    if self.spacing == "leading":
      times = np.arange(steps)[::-1] * (self.steps // steps) + self.offset
    else:
      times = np.arange(self.steps, 0, -self.steps / steps).round() - 1
    return np.append(times, -1 if self.clean else 0).astype(np.float32)

  @functools.cached_property
  def table(self) -> Float[np.ndarray, "2 times"]:
    """See `processes.WholeTimes`."""
    if self.scaled:
      shares = np.linspace(self.first**0.5, self.last**0.5, self.steps) ** 2
    else:
      shares = np.linspace(self.first, self.last, self.steps)
    return processes.table(shares)


def read(path: str | Path) -> Schedule:
  """The process of a scheduler_config.json.

  Raises:
    UserError: it cannot be read, or says what is not known here.
  """
  config: _Config = json_files.read_json(path, _Config)
  prediction = config.get("prediction_type", "epsilon")
  shares = config.get("beta_schedule", "linear")
  spacing = config.get("timestep_spacing", "leading")
  steps, offset = (
    config.get("num_train_timesteps", 1000),
    config.get("steps_offset", 0),
  )
  first, last = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
  changed = {
    "clip_sample": config.get("clip_sample"),
    "thresholding": config.get("thresholding"),
    "rescale_betas_zero_snr": config.get("rescale_betas_zero_snr"),
    "trained_betas": config.get("trained_betas"),
  }
  wrong = [f"{key}={x!s:.60}" for key, x in changed.items() if x]
  wrong += [
    f"{key}={found!s:.60}, expected {' or '.join(known)}"
    for key, found, known in (
      ("prediction_type", prediction, tuple(_PREDICTIONS)),
      ("beta_schedule", shares, _SCHEDULES),
      ("timestep_spacing", spacing, _SPACINGS),
    )
    if found not in known
  ]
  if not 0 < first <= last < 1:
    wrong.append(f"shares of noise from {first} to {last}")
  if not 2 <= steps <= _MOST or not 0 <= offset < steps:
    wrong.append(f"{steps} times and an offset of {offset}")
  if wrong:
    raise UserError(
      f"{path} is of a sampler that is not known here: {'; '.join(wrong)}"
    )
  ddim = config.get("_class_name") == "DDIMScheduler"
  return Schedule(
    _PREDICTIONS[prediction],
    float(first),
    float(last),
    shares == "scaled_linear",
    steps,
    spacing,
    offset,
    # DDIMScheduler's own default is not that of the others.
    config.get("set_alpha_to_one", ddim),
  )
