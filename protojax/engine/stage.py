"""Stages of training: gradient descent (`Fit`) and sweeps over data (`Pass`).

Gradients and metrics are summed over the devices here and nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping
import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protojax import parallel
from protojax.data import stream
from protojax.data.stream import Stream
from protojax.engine.cached import Cached, Rows, with_rows
from protojax.types import Batch, Metrics, PyTree, State, UserError


class Aux(NamedTuple):
  """Results of a loss beside its sum and count.

  Attributes:
    statistics: the running averages of BatchNorm, equal on all devices.
    metrics: name -> sum over this device's examples.
  """

  statistics: PyTree
  metrics: Mapping[str, jax.Array]


@runtime_checkable
class Loss(Protocol):
  """`(params, state, batch, key) -> (sum, count, Aux)` of one device's slice.

  A sum and a count, since the mean over all devices is psum / psum.
  """

  def __call__(
    self, params: PyTree, state: State, batch: Batch, key: jax.Array
  ) -> tuple[jax.Array, jax.Array, Aux]:
    """Sum over the examples of the slice, their number, and the rest."""
    ...


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
    data: shuffled batches.
    optimizer: from `optimizer.grouped`; a group not named there is frozen.
    length: in epochs or steps.
    cached: rows of the layers before the first trainable parameter; the loss
      finds them in the batch. With data that are transformed at random, each
      step computes them from its own images.
    after_step: `state -> state`, after every update; it sees this device's
      shard of the sharded arrays.
    optimizer_id: stages with the same one share moments and schedule counts.
    patience: the stage ends after so many epochs without a better accuracy on
      the validation images, and gives its best state. 0: the stage trains to
      its end and gives its last state.
    accumulate: number of accumulated batches. A device computes its slice of a
      batch in so many pieces, one after the other: with the memory of one, the
      gradient of all. BatchNorm by the batch then uses one piece, and its
      running averages move with each.
    sharding: names of the sharded arrays in state and moments; see
      `parallel.Sharding`. The loss sees this device's shard. The optimiser
      must move each number independently of the others.
  """

  name: str
  loss: Loss
  data: Stream
  optimizer: optax.GradientTransformation
  length: Length
  cached: Cached | None = None
  after_step: Callable[[State], State] | None = None
  optimizer_id: str | None = None
  patience: int = 0
  accumulate: int = 1
  sharding: parallel.Sharding = dataclasses.field(default_factory=dict)

  @property
  def total_steps(self) -> int:
    """Updates from the stage's start to its end."""
    return self.length.steps(self.data.steps_per_epoch)

  def on_host(self, update: "Update") -> tuple[State, PyTree]:
    """State and optimiser's state after a step, shards joined, as NumPy."""
    return parallel.to_host(
      (update.state, update.optimizer_state), self.sharding
    )


@dataclasses.dataclass(frozen=True)
class Pass:
  """One sweep over data that rewrites the state.

  Attributes:
    name: what the stage is called.
    sweep: `(state, data) -> (state, metrics)`.
    data: batches in source order.
  """

  name: str
  sweep: Callable[[State, Stream], tuple[State, Metrics]]
  data: Stream


class Update(NamedTuple):
  """Results of one step of a `Fit`, on the devices; see `Fit.on_host`."""

  state: State
  optimizer_state: PyTree
  metrics: Mapping[str, jax.Array]


def fit(
  stage: Fit,
  state: State,
  optimizer_state: PyTree,
  key: jax.Array,
  start: int = 0,
) -> Iterator[Update]:
  """Trains from step `start` to the stage's end, yielding after every step.

  Args:
    stage: the stage.
    state: the state at step `start`.
    optimizer_state: the optimiser's, at step `start`.
    key: the stage's key; a step's key is folded from it.
    start: steps done already.

  Raises:
    UserError: the batch does not divide over devices and accumulated batches.
  """
  _check_batch_size(stage)
  rows = _cached_rows(stage, state)
  # Copied, since the step overwrites its inputs.
  state, optimizer_state = parallel.distribute(
    jax.tree.map(np.array, parallel.to_host((state, optimizer_state))),
    stage.sharding,
  )
  step = mapped(stage, state, optimizer_state, key, rows is not None)
  batches = stage.data.batches(
    start, stage.total_steps, read_images=rows is None
  )
  for number, batch in enumerate(batches, start):
    if rows is not None:
      batch = with_rows(batch, rows)
    update = step(
      state, optimizer_state, parallel.shard(batch), np.int32(number)
    )
    state, optimizer_state, _ = update
    yield update


def mapped(
  stage: Fit,
  state: State,
  optimizer_state: PyTree,
  key: jax.Array,
  has_rows: bool = False,
) -> Callable[..., Update]:
  """A step over all devices, compiled at its first call.

  Args:
    stage: the stage.
    state, optimizer_state: trees like those that the step will get.
    key: of the stage.
    has_rows: whether batches hold the rows of `stage.cached`.

  Returns:
    `(state, optimizer_state, sharded batch, number) -> Update`; it overwrites
    the states that it gets.
  """
  axes = (
    parallel.axes(state, stage.sharding),
    parallel.axes(optimizer_state, stage.sharding),
  )
  means: Any = None  # The same on all devices.
  return parallel.pmap(
    _step(stage, key, has_rows),
    in_axes=(*axes, 0, None),
    out_axes=Update(*axes, means),
    donate=(0, 1),
  )


def _check_batch_size(stage: Fit) -> None:
  devices, size = parallel.device_count(), stage.data.batch_size
  unit = devices * stage.accumulate
  if stage.accumulate > 1 and size % unit:
    raise UserError(
      f"batch_size {size} does not divide over {devices} devices and"
      f" accumulate={stage.accumulate} batches on each; use a multiple of"
      f" {unit}, or another accumulate."
    )


def _cached_rows(stage: Fit, state: State) -> Rows | None:
  data = stage.data
  if stage.cached is None or data.varies:
    return None
  ordered = stream.ordered(data.source, data.image_size, data.batch_size)
  return stage.cached.rows(state, ordered)


def _step(
  stage: Fit, stage_key: jax.Array, has_rows: bool
) -> Callable[..., Update]:
  def step(
    state: State, optimizer_state: PyTree, batch: Batch, number: jax.Array
  ) -> Update:
    key = jax.random.fold_in(stage_key, number)

    def sums(statistics: PyTree, batch: Batch) -> tuple[PyTree, PyTree]:
      batch = stage.data.varied(batch, key)
      given = state.replace(statistics=statistics)
      if stage.cached is not None and not has_rows:
        rows = jax.lax.stop_gradient(stage.cached.function(given, batch))
        batch = {**batch, **rows}
      return _sums(stage.loss, given, batch, key)

    statistics, found = _added(sums, state.statistics, batch, stage.accumulate)
    gradients, metrics, count = _over_devices(found, stage.sharding)
    gradients, means = jax.tree.map(lambda x: x / count, (gradients, metrics))
    updates, optimizer_state = stage.optimizer.update(
      gradients, optimizer_state, state.params
    )
    state = state.replace(
      params=optax.apply_updates(state.params, updates), statistics=statistics
    )
    if stage.after_step is not None:
      state = stage.after_step(state)
    return Update(state, optimizer_state, means)

  return step


def _sums(
  loss: Loss, state: State, batch: Batch, key: jax.Array
) -> tuple[PyTree, tuple[PyTree, PyTree, jax.Array]]:
  """Statistics; gradients, metrics and count, summed over the examples."""

  def total(params: PyTree) -> tuple[jax.Array, tuple[jax.Array, Aux]]:
    total, count, aux = loss(params, state, batch, key)
    return total, (count, aux)

  (value, (count, aux)), gradients = jax.value_and_grad(total, has_aux=True)(
    state.params
  )
  return aux.statistics, (gradients, {"loss": value, **aux.metrics}, count)


def _added(
  sums: Callable[[PyTree, Batch], tuple[PyTree, PyTree]],
  statistics: PyTree,
  batch: Batch,
  accumulate: int,
) -> tuple[PyTree, PyTree]:
  """Sum of `sums` over the accumulated batches, one after the other."""
  if accumulate == 1:
    return sums(statistics, batch)
  batches = jax.tree.map(
    lambda x: x.reshape(accumulate, len(x) // accumulate, *x.shape[1:]), batch
  )
  first = jax.tree.map(lambda x: x[0], batches)
  _, shapes = jax.eval_shape(sums, statistics, first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  def add(carry: tuple, batch: Batch) -> tuple[tuple, None]:
    statistics, total = carry
    statistics, found = sums(statistics, batch)
    return (statistics, jax.tree.map(jnp.add, total, found)), None

  return jax.lax.scan(add, (statistics, zeros), batches)[0]


def _over_devices(
  found: PyTree, sharding: parallel.Sharding
) -> tuple[PyTree, PyTree, jax.Array]:
  """Gradients, metrics and count, summed over devices.

  Gradients of sharded arrays are not summed. The loss of a device is of its own
  examples alone; backwards, `parallel.gather` and `scatter_sum` bring to each
  shard the gradients of the examples of all devices. (If every device took the
  loss of the whole batch, a gradient would arrive once for each device.)
  """
  gradients, metrics, count = found
  local = parallel.map_axes(
    lambda x, axis: x if axis is None else None, gradients, sharding
  )
  local, metrics, count = parallel.psum((local, metrics, count))
  gradients = jax.tree.map(
    lambda own, total: own if total is None else total, gradients, local
  )
  return gradients, metrics, count
