"""The measurements of a run: opened once, parted by subject, as streams."""

import functools
from typing import Any

from jaxtyping import Float
import numpy as np

from protojax import datasets, parallel
from protojax.data import stream as stream_lib
from protojax.data.source import Subset
from protojax.data.stream import Stream
from protojax.datasets.measurements import Measurements
from protojax.methods.neurogaze_distill import data_card
from protojax.methods.neurogaze_distill import teacher as teacher_lib
from protojax.methods.neurogaze_distill.grid_bank import GridBank, build
from protojax.methods.neurogaze_distill.teacher import Teacher
from protojax.types import Array, Batch, Metrics, State, UserError

# The group of the teacher in the parameters.
GROUP = "teacher"
# Subjects of measurements that stand for ones that are not there.
_SUBJECTS, _EACH = 6, 32


class Modality:
  """Opens the measurements when they are first needed.

  Attributes:
    planned: whether a plan may go by a stand-in where there are none.
  """

  def __init__(self, config: Any, seed: int) -> None:
    self._config, self._seed = config, seed
    self.planned = False

  @functools.cached_property
  def source(self) -> Measurements:
    """All measurements.

    Raises:
      UserError: they are not there, or have other channels than the config.
    """
    c = self._config
    try:
      module = datasets.find(c.name, "measure", "--config.modality.name")
      found = module.measure(c, self._seed)
    except UserError:
      if not self.planned:
        raise
      found = _stand_in(c.size, c.channels)
    if len(found.channels) != c.channels:
      raise UserError(
        f"{found.title} has {len(found.channels)} channels"
        f" ({', '.join(found.channels)}): set --config.modality.channels to it"
      )
    return found

  @functools.cached_property
  def _parts(self) -> tuple[Subset, ...]:
    return teacher_lib.three_ways(self.source, self._seed)

  def shuffled(self) -> Stream:
    """Measurements that the teacher is trained on."""
    c = self._config
    return stream_lib.shuffled(self._parts[0], c.size, c.batch_size, self._seed)

  def stopping(self) -> Stream:
    """Those that it is stopped by."""
    return self._ordered(self._parts[1])

  def banked(self) -> Stream:
    """Those that the bank is built from, of subjects it has never seen."""
    return self._ordered(self._parts[2])

  def _ordered(self, source: Subset) -> Stream:
    return stream_lib.ordered(
      source, self._config.size, self._config.batch_size
    )

  @property
  def note(self) -> str:
    """That the measurements are made up, if they are."""
    source = self.source
    if not source.synthetic:
      return ""
    return data_card.SYNTHETIC.format(title=source.title)


def features(
  teacher: Teacher | None, state: State, batch: Batch
) -> dict[str, Array]:
  """Rows of measurements: features and pairs of the teacher.

  Without a teacher the values themselves are the features.
  """
  if teacher is None:
    values = batch["values"]
    return {"features": values.reshape(len(values), -1)}
  found, pair = teacher(state.params[GROUP], batch["values"])
  return {"features": found, "pair": pair}


def rows(
  teacher: Teacher | None, state: State, data: Stream
) -> dict[str, np.ndarray]:
  """Features, pairs and targets of a whole stream, on the host."""
  step = functools.partial(features, teacher)
  found: list[dict[str, np.ndarray]] = [
    {
      name: np.asarray(x)[batch["valid"]]
      for name, x in {**made, "target": batch["target"]}.items()
    }
    for batch, made in parallel.each(step, state, data.batches())
  ]
  return {
    name: np.concatenate([part[name] for part in found]) for name in found[0]
  }


def error(teacher: Teacher, state: State, data: Stream) -> float:
  """The mean squared error of the teacher's pairs."""
  found = rows(teacher, state, data)
  wanted = np.asarray(teacher.scaled(found["target"]))
  return float(np.mean((found["pair"] - wanted) ** 2))


def bank(
  teacher: Teacher | None, state: State, data: Stream, grid: Any, center: bool
) -> tuple[GridBank, Metrics]:
  """The bank of a stream of measurements, and how good the teacher is."""
  found = rows(teacher, state, data)
  made = build(found["features"], found["target"], grid, center)
  if teacher is None:
    return made, {}
  wanted: Float[np.ndarray, "n 2"] = np.asarray(teacher.scaled(found["target"]))
  agreement = teacher_lib.concordance(found["pair"], wanted)
  return made, {"teacher_concordance": float(agreement)}


def require_width(made: GridBank, channels: int) -> None:
  """Refuses values of a modality that are features of another width.

  Raises:
    UserError: says which width the config has to name.
  """
  width = made.prototypes.shape[1]
  if width != channels:
    raise UserError(
      f"the values of the modality are features of width {width}: set"
      f" --config.bank.channels={width}, not {channels}"
    )


def _stand_in(size: int, channels: int) -> Measurements:
  """Zeros in place of measurements, to plan a run by."""
  count = _SUBJECTS * _EACH
  return Measurements(
    "measurements that are not there",
    np.zeros((count, size, size, channels), np.float32),
    np.zeros((count, 2), np.float32),
    (np.arange(count) % _SUBJECTS).astype(np.int32),
    tuple(map(str, range(channels))),
    synthetic=True,
  )
