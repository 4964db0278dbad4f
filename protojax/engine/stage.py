"""Stages of training: gradient descent (`Fit`) and sweeps over data (`Pass`).

`run` runs them in order; `descent` makes the steps of a `Fit`.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import optax

from protojax import parallel
from protojax.data.stream import Stream
from protojax.engine.cached import Cached
from protojax.engine.terms import Loss
from protojax.types import Metrics, PyTree, State, UserError

# Steps are counted in int32.
_MOST_STEPS = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Length:
  """How long a stage trains, in epochs or steps."""

  count: int
  unit: str

  def steps(self, steps_per_epoch: int) -> int:
    """The length in steps."""
    return self.count * (steps_per_epoch if self.unit == "epochs" else 1)


def epochs(count: int) -> Length:
  """A length in passes over the data."""
  return Length(count, "epochs")


def steps(count: int) -> Length:
  """A length in updates."""
  return Length(count, "steps")


@dataclasses.dataclass(frozen=True)
class Fit:
  """Gradient descent.

  Attributes:
    name: what the stage is called.
    loss: see `Loss`.
    data: shuffled batches, or several streams of them by name. The first one
      sets the length of an epoch, the others go round.
    optimizer: from `optimizer.grouped`; a group not named there is frozen.
    length: in epochs or steps.
    cached: rows of the layers before the first trainable parameter; the loss
      finds them in the batch. A stream that is varied at random has its rows
      computed in each step, from that step's examples.
    after_step: `state -> state`, after every update; it sees this device's
      shard of the sharded arrays, and no assets.
    optimizer_id: stages with the same one share moments and schedule counts.
    patience: the stage ends after so many epochs without a better value of the
      monitored metric on the validation examples, and gives its best state. 0:
      the stage trains to its end and gives its last state.
    monitor: the metric that patience watches, and whether "max" or "min" is
      best.
    accumulate: number of accumulated batches. A device computes its slice of a
      batch in so many pieces, one after the other: with the memory of one, the
      mean gradient of all. A term is then the mean of its values in the pieces,
      and a term of the whole batch is refused. BatchNorm by the batch uses one
      piece, and its running averages and the memory move with each.
    redraw: `(state at the stage's start, data) -> data`, with other examples of
      the same sources, as many of them: such as those that a sweep has chosen.
      A stage that is resumed asks again, so that it may look only at what no
      step changes.
    sharding: names of the sharded arrays in state and moments; see
      `parallel.Sharding`. The loss sees this device's shard. The optimiser
      must move each number independently of the others.
  """

  name: str
  loss: Loss
  data: Stream | Mapping[str, Stream]
  optimizer: optax.GradientTransformation
  length: Length
  cached: Cached | None = None
  after_step: Callable[[State], State] | None = None
  optimizer_id: str | None = None
  patience: int = 0
  monitor: tuple[str, str] = ("accuracy", "max")
  accumulate: int = 1
  redraw: Callable[[State, Any], Any] | None = None
  sharding: parallel.Sharding = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    if self.monitor[1] not in ("max", "min"):
      raise ValueError(f"monitor {self.monitor}: best is 'max' or 'min'")

  def redrawn(self, state: State) -> "Fit":
    """The stage with the examples that it takes from this state."""
    if self.redraw is None:
      return self
    data = self.redraw(state, self.data)
    found = dataclasses.replace(self, data=data, redraw=None)
    if found.total_steps != self.total_steps:
      raise ValueError(
        f"the stage {self.name!r} has {self.total_steps} steps, and"
        f" {found.total_steps} with the examples of its state"
      )
    return found

  @property
  def streams(self) -> Mapping[str, Stream]:
    """The streams by name; a single one has the name ""."""
    return self.data if isinstance(self.data, Mapping) else {"": self.data}

  @property
  def steps_per_epoch(self) -> int:
    """Updates of an epoch: those of the first stream."""
    return next(iter(self.streams.values())).steps_per_epoch

  @property
  def batch_size(self) -> int:
    """Examples of a step, over all processes and streams."""
    return sum(stream.batch_size for stream in self.streams.values())

  @property
  def total_steps(self) -> int:
    """Updates from the stage's start to its end.

    Raises:
      UserError: there are more than can be counted.
    """
    count = self.length.steps(self.steps_per_epoch)
    if count > _MOST_STEPS:
      raise UserError(
        f"the stage {self.name!r} would take {count:,} steps, more than the"
        f" {_MOST_STEPS:,} that are counted: train fewer epochs"
      )
    return count


@dataclasses.dataclass(frozen=True)
class Pass:
  """One sweep over data that rewrites the state.

  Attributes:
    name: what the stage is called.
    sweep: `(state, data) -> (state, metrics)`. With a third result, a mapping
      of trees by name, it makes these assets; see `engine.assets`.
    data: what the sweep goes over, such as a stream in source order.
  """

  name: str
  sweep: Callable[..., tuple[State, Metrics] | tuple[State, Metrics, PyTree]]
  data: Any
