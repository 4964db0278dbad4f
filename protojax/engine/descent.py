"""Gradient descent: the steps of a `Fit`, over all devices.

Gradients and metrics are summed over the devices here and nowhere else.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import UInt32
import numpy as np
import optax

from protojax import parallel
from protojax.data.stream import Stream
from protojax.engine.cached import Rows, with_rows
from protojax.engine.stage import Fit
from protojax.engine.terms import Now, Term
from protojax.types import Batch, PyTree, State, UserError


class Update(NamedTuple):
  """Results of one step of a `Fit`, on the devices."""

  state: State
  optimizer_state: PyTree
  metrics: Mapping[str, jax.Array]

  def on_host(self, sharding: parallel.Sharding) -> tuple[State, PyTree]:
    """State and optimiser's state, shards joined, as NumPy."""
    return parallel.to_host((self.state, self.optimizer_state), sharding)


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
    state: the state at step `start`, with its assets. Those that the updates
      hold have none.
    optimizer_state: the optimiser's, at step `start`.
    key: the stage's key; a step's key is folded from it.
    start: steps done already.

  Raises:
    UserError: the batch does not divide over devices and accumulated batches,
      or a term of the loss cannot be accumulated.
  """
  _check_batch_size(stage)
  stage = stage.redrawn(state)
  state = state.replace(assets=parallel.replicate(state.assets))
  rows = _cached_rows(stage, state)
  step = mapped(
    stage,
    state,
    optimizer_state,
    key,
    [name for name, found in rows.items() if found is not None],
  )
  # Copied, since the step overwrites its inputs.
  state, optimizer_state = parallel.distribute(
    jax.tree.map(
      np.array, parallel.to_host((state.replace(assets={}), optimizer_state))
    ),
    stage.sharding,
  )
  for number, batch in enumerate(_batches(stage, rows, start), start):
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
  has_rows: Collection[str] = (),
) -> "Step":
  """A step over all devices, compiled at its first call.

  Args:
    stage: the stage.
    state, optimizer_state: trees like those that the step will get. The assets
      of this state are those of all steps.
    key: of the stage.
    has_rows: names of the streams whose batches hold the rows of
      `stage.cached`.

  Returns:
    The step; the states that it gets are without assets.
  """
  axes = (
    parallel.axes(state.replace(assets={}), stage.sharding),
    parallel.axes(optimizer_state, stage.sharding),
  )
  means: Any = None  # The same on all devices.
  program = parallel.pmap(
    _step(stage, has_rows),
    in_axes=(*axes, None, None, 0, None),
    out_axes=Update(*axes, means),
    donate=(0, 1),
  )
  return Step(program, state.assets, np.asarray(jax.random.key_data(key)))


@dataclasses.dataclass(frozen=True)
class Step:
  """A step over all devices: `(state, moments, sharded batch, number)`.

  It overwrites state and moments.

  Attributes:
    program: the mapped function.
    assets: on the devices. The program takes them as an argument: those that it
      closed over would be constants in it, once more in memory.
    key: the bits of the stage's key. An argument, too, so that every round and
      every seed runs the same program, which is compiled once.
  """

  program: Any
  assets: PyTree
  key: UInt32[np.ndarray, " words"]

  def __call__(
    self, state: State, moments: PyTree, batch: Batch, number: Any
  ) -> Update:
    """State, moments and metrics after update `number`."""
    return self.program(state, moments, self.assets, self.key, batch, number)

  def lower(
    self, state: State, moments: PyTree, batch: Batch, number: Any
  ) -> Any:
    """The program for inputs of these shapes, not compiled yet."""
    return self.program.lower(
      state, moments, self.assets, self.key, batch, number
    )


def _check_batch_size(stage: Fit) -> None:
  devices = parallel.device_count()
  unit = devices * stage.accumulate
  for data in stage.streams.values():
    if stage.accumulate > 1 and data.batch_size % unit:
      raise UserError(
        f"batch_size {data.batch_size} does not divide over {devices} devices"
        f" and accumulate={stage.accumulate} batches on each; use a multiple of"
        f" {unit}, or another accumulate."
      )


def _cached_rows(stage: Fit, state: State) -> dict[str, Rows | None]:
  """The cached rows of each stream; None where a step computes them."""
  rows: dict[str, Rows | None] = dict.fromkeys(stage.streams)
  for name, data in stage.streams.items():
    if stage.cached is not None and not data.varies:
      ordered = data.in_order()
      rows[name] = stage.cached.rows(state, ordered)
  return rows


def _batches(
  stage: Fit, rows: Mapping[str, Rows | None], start: int
) -> Iterator[Batch]:
  """The batches from step `start` on, with cached rows where there are some."""

  def of_stream(name: str, data: Stream) -> Iterator[Batch]:
    found = rows[name]
    batches = data.batches(start, stage.total_steps, read_images=found is None)
    return (b if found is None else with_rows(b, found) for b in batches)

  together = [of_stream(*pair) for pair in stage.streams.items()]
  if not isinstance(stage.data, Mapping):
    return together[0]
  return (
    dict(zip(stage.streams, batches, strict=True))
    for batches in zip(*together, strict=True)
  )


def _step(stage: Fit, has_rows: Collection[str]) -> Callable[..., Update]:
  def step(
    state: State,
    optimizer_state: PyTree,
    assets: PyTree,
    key_data: jax.Array,
    batch: Batch,
    number: jax.Array,
  ) -> Update:
    stage_key = parallel.key_of(key_data)
    key = jax.random.fold_in(stage_key, number)
    now = Now(key, number, jnp.float32(number) / stage.total_steps)

    def one(moving: Moving, batch: Batch) -> tuple[Moving, PyTree]:
      given = state.replace(
        statistics=moving.statistics, memory=moving.memory, assets=assets
      )
      batch = _ready(stage, given, batch, key, has_rows)
      return _differentiated(stage, given, batch, now)

    moving = Moving(state.statistics, state.memory)
    moving, found = _averaged(one, moving, batch, stage.accumulate)
    gradients, metrics = _over_devices(found, stage.sharding)
    updates, optimizer_state = stage.optimizer.update(
      gradients, optimizer_state, state.params
    )
    state = state.replace(
      params=optax.apply_updates(state.params, updates), **moving._asdict()
    )
    if stage.after_step is not None:
      state = stage.after_step(state)
    return Update(state, optimizer_state, metrics)

  return step


class Moving(NamedTuple):
  """What a batch changes beside the parameters; see `Aux`."""

  statistics: PyTree
  memory: PyTree


def _ready(
  stage: Fit,
  state: State,
  batch: Batch,
  key: jax.Array,
  has_rows: Collection[str],
) -> Batch:
  """The batch as the loss sees it: varied at random, with cached rows."""

  def of_stream(name: str, batch: Batch, key: jax.Array) -> Batch:
    batch = stage.streams[name].varied(batch, key)
    cached = stage.cached
    if cached is None or name in has_rows:
      return batch
    return _each_view(
      lambda b: {**b, **_constant(cached.of_batch(state, b))}, batch
    )

  if not isinstance(stage.data, Mapping):
    return of_stream("", batch, key)
  # Examples of two streams that have the same position vary differently.
  return {
    name: of_stream(name, batch[name], jax.random.fold_in(key, number))
    for number, name in enumerate(stage.streams)
  }


def _each_view(change: Callable[[Batch], Batch], batch: Batch) -> Batch:
  """Changes a batch, or each of its views."""
  if "index" in batch:
    return change(batch)
  return {name: change(view) for name, view in batch.items()}


def _constant(tree: PyTree) -> PyTree:
  return jax.lax.stop_gradient(tree)


def _differentiated(
  stage: Fit, state: State, batch: Batch, now: Now
) -> tuple[Moving, tuple[PyTree, Mapping[str, jax.Array]]]:
  """What moves; gradients and metrics, to be summed over the devices."""

  def total(params: PyTree) -> tuple[jax.Array, tuple]:
    terms, aux = stage.loss(params, state, batch, now)
    _check_terms(stage, terms, aux.metrics)
    values = _shares(terms)
    loss = sum(term.weight * values[name] for name, term in terms.items())
    values = {"loss": loss, **values, **_shares(aux.metrics)}
    return jnp.asarray(loss), (aux.statistics, aux.memory, values)

  (_, found), gradients = jax.value_and_grad(total, has_aux=True)(state.params)
  statistics, memory, values = found
  moving = Moving(
    state.statistics if statistics is None else statistics,
    state.memory if memory is None else memory,
  )
  return moving, (gradients, values)


def _shares(terms: Mapping[str, Term]) -> dict[str, jax.Array]:
  """Name -> this device's share of the term's value: they sum to it."""
  counts = parallel.psum(
    {
      name: _constant(jnp.asarray(term.count, jnp.float32))
      for name, term in terms.items()
    }
  )
  # A term without an example, such as one of labelled rows, is 0.
  return {
    name: jnp.asarray(term.total)
    / jnp.where(counts[name] == 0, 1.0, counts[name])
    for name, term in terms.items()
  }


def _check_terms(
  stage: Fit, terms: Mapping[str, Term], metrics: Mapping[str, Term]
) -> None:
  if twice := {*terms, "loss"} & {*metrics} or {"loss"} & {*terms}:
    raise ValueError(
      f"the loss of the stage {stage.name!r} gives {', '.join(sorted(twice))}"
      ' twice; "loss" is the sum of its terms'
    )
  whole = [name for name, term in terms.items() if term.whole]
  if whole and stage.accumulate > 1:
    raise UserError(
      f"accumulate={stage.accumulate} cuts the batches of the stage"
      f" {stage.name!r} into pieces, but its loss needs them whole"
      f" ({', '.join(whole)}): set accumulate to 1, and a smaller batch_size if"
      " memory is short."
    )


def _averaged(
  one: Callable[[Moving, Batch], tuple[Moving, PyTree]],
  moving: Moving,
  batch: Batch,
  accumulate: int,
) -> tuple[Moving, PyTree]:
  """The mean of `one` over the accumulated batches, one after the other."""
  if accumulate == 1:
    return one(moving, batch)
  batches = jax.tree.map(
    lambda x: x.reshape(accumulate, len(x) // accumulate, *x.shape[1:]), batch
  )
  first = jax.tree.map(lambda x: x[0], batches)
  _, shapes = jax.eval_shape(one, moving, first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

  def add(carry: tuple, batch: Batch) -> tuple[tuple, None]:
    moving, total = carry
    moving, found = one(moving, batch)
    return (moving, jax.tree.map(jnp.add, total, found)), None

  (moving, total), _ = jax.lax.scan(add, (moving, zeros), batches)
  return moving, jax.tree.map(lambda x: x / accumulate, total)


def _over_devices(
  found: PyTree, sharding: parallel.Sharding
) -> tuple[PyTree, PyTree]:
  """Gradients and metrics, summed over devices.

  Gradients of sharded arrays are not summed. The loss of a device is of its own
  examples alone; backwards, `parallel.gather` and `scatter_sum` bring to each
  shard the gradients of the examples of all devices. (If every device took the
  loss of the whole batch, a gradient would arrive once for each device.)
  """
  gradients, metrics = found
  local = parallel.map_axes(
    lambda x, axis: x if axis is None else None, gradients, sharding
  )
  local, metrics = parallel.psum((local, metrics))
  gradients = jax.tree.map(
    lambda own, total: own if total is None else total, gradients, local
  )
  return gradients, metrics
