"""The plan of a run, from shapes alone: nothing is allocated, nothing written.

What somebody needs before a run on large machines: parameters, steps, the work
and the memory of one device, and which data are not there yet.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence, Sized
import dataclasses
import functools
import os
from typing import Any, NamedTuple

import jax
from jax.interpreters import partial_eval
import numpy as np
import optax

from protojax import parallel
from protojax.data import stream as stream_lib
from protojax.data.source import Source
from protojax.datasets import stand_in
from protojax.engine import assets as asset_lib
from protojax.engine import cost, descent
from protojax.engine.cost import Cost
from protojax.engine.run import slug
from protojax.engine.stage import Fit, Pass
from protojax.layers import conv
from protojax.types import Batch, PyTree, State, UserError


@dataclasses.dataclass(frozen=True)
class Group:
  """A group of parameters.

  Attributes:
    name: its key in `State.params`.
    count: parameters, over all devices.
    size: bytes on one device.
    trained: ids of the stages whose gradients move it; in others it is frozen,
      or set by a sweep.
  """

  name: str
  count: int
  size: int
  trained: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stage of gradient descent, or a sweep.

  Attributes:
    id: number and name, as in the log.
    trains: names of the groups that it trains.
    steps: updates; 0 of a sweep.
    epochs: passes over the data.
    images: read from the data in all; with cached rows once each, at most.
    cost: of one step on one device; None of a sweep.
    optimizer: bytes of the optimiser's state on one device.
    rows: bytes of cached rows in the memory of the host; 0 without.
  """

  id: str
  trains: tuple[str, ...] = ()
  steps: int = 0
  epochs: float = 1.0
  images: int = 0
  cost: Cost | None = None
  optimizer: int = 0
  rows: int = 0


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a run will take.

  Attributes:
    method: its name.
    devices: how many there are.
    batch_size: examples of the largest step, over all devices.
    groups: of parameters.
    rest: bytes on one device of statistics, memory and buffers, which no
      gradient moves.
    assets: bytes on one device of each frozen tree that is an asset, by name.
    stages: in order.
    missing: split, or "weights" -> why it cannot be read.
    assumed: what was taken for true of missing data, in words; '' for nothing.
  """

  method: str
  devices: int
  batch_size: int
  groups: tuple[Group, ...]
  rest: int
  assets: Mapping[str, int]
  stages: tuple[Stage, ...]
  missing: Mapping[str, str]
  assumed: str


def of_run(method: Any, config: Any, classes: int = 0, images: int = 0) -> Plan:
  """The plan of a run on the devices of this process, as on GPU and TPU.

  Args:
    method: from `methods.load(config)`; its data need not be there.
    config: of the run.
    classes, images: to take for true of missing data; see `stand_in.counts`.

  Raises:
    UserError: settings do not fit together, whatever the data are.
  """
  missing: dict[str, str] = {}
  assumed = ""
  # A method need not read its data through a `Dataset`.
  if dataset := getattr(method, "dataset", None):
    counts = stand_in.counts(config.data, classes, images)
    make = stand_in.maker(config.data, counts)

    def without(split: str, error: UserError) -> Source:
      missing[split] = str(error)
      return make(split)

    dataset.stand_in = without
    for split in method.splits:
      method.stream(split)
    if missing:
      assumed = (
        f"{counts.classes:,} classes, {counts.images:,} training images"
        f" ({counts.origin})"
      )
  missing.update(_weights(config))
  with conv.traced_for("tpu"):
    state = jax.eval_shape(method.init, parallel.init_key(config.seed))
    assets = asset_lib.shapes(method.assets)
    state = state.replace(assets=assets)
    listed, known = list(method.stages()), {}
    stages = tuple(
      _stage(f"{number:02d}-{slug(stage.name)}", stage, state, known)
      for number, stage in enumerate(listed, 1)
    )
  sharding: dict[str, int] = {}
  for stage in listed:
    sharding |= stage.sharding if isinstance(stage, Fit) else {}
  return Plan(
    method=config.method,
    devices=parallel.device_count(),
    batch_size=_batch_size(listed),
    groups=tuple(_groups(state, stages, sharding)),
    rest=_on_device(
      (state.statistics, state.memory, {"buffers": state.buffers}), sharding
    ),
    assets={name: asset_lib.size(x) for name, x in assets.items()},
    stages=stages,
    missing=missing,
    assumed=assumed,
  )


def trained(
  optimizer: optax.GradientTransformation, params: PyTree
) -> tuple[str, ...]:
  """Names of the groups whose updates depend on a gradient.

  Args:
    optimizer: of a stage.
    params: shapes of the groups, by name.
  """
  moments = jax.eval_shape(optimizer.init, params)

  def updates(gradients: PyTree, moments: PyTree, params: PyTree) -> PyTree:
    return optimizer.update(gradients, moments, params)[0]

  traced = jax.make_jaxpr(updates)(params, moments, params).jaxpr
  gradients = len(jax.tree.leaves(params))
  named = [name for name, tree in params.items() for _ in jax.tree.leaves(tree)]
  found = []
  for name in sorted(set(named)):
    # jax flattens a mapping in the order of its sorted keys.
    wanted = [name == other for other in sorted(named)]
    _, used = partial_eval.dce_jaxpr(traced, wanted)
    if any(used[:gradients]):
      found.append(name)
  return tuple(found)


def _batch_size(stages: Sequence[Fit | Pass]) -> int:
  """Examples of the largest step; of a batch of a sweep, if there is no step.

  0 if nothing is read in batches.
  """
  steps = [stage.batch_size for stage in stages if isinstance(stage, Fit)]
  return max(
    steps or (getattr(stage.data, "batch_size", 0) for stage in stages),
    default=0,
  )


def _groups(
  state: State, stages: tuple[Stage, ...], sharding: parallel.Sharding
) -> Iterator[Group]:
  for name, tree in state.params.items():
    yield Group(
      name,
      sum(x.size for x in jax.tree.leaves(tree)),
      _on_device({name: tree}, sharding),
      tuple(stage.id for stage in stages if name in stage.trains),
    )


class _Work(NamedTuple):
  """What a stage's steps are, however many they are."""

  trains: tuple[str, ...]
  rows: Mapping[str, Batch]
  cost: Cost
  optimizer: int


def _stage(
  stage_id: str, stage: Fit | Pass, state: State, known: dict[Any, _Work]
) -> Stage:
  """The plan of a stage; `known` has what was found of those before it."""
  if isinstance(stage, Pass):
    images = len(stage.data) if isinstance(stage.data, Sized) else 0
    return Stage(stage_id, images=images)
  key = _identity(stage)
  work = known[key] = known.get(key) or _work(stage, state)
  steps, read, held = stage.total_steps, 0, 0
  for name, data in stage.streams.items():
    images = steps * data.batch_size
    # Rows are those of all examples of the source, each once.
    count = len(data.source)
    read += min(images, count) if work.rows[name] else images
    held += count * cost.size(work.rows[name]) // data.batch_size
  return Stage(
    stage_id,
    work.trains,
    steps,
    steps / stage.steps_per_epoch,
    read,
    work.cost,
    work.optimizer,
    held,
  )


def _identity(stage: Fit) -> Hashable:
  """Equal for stages that a method repeats in rounds: their work is the same.

  Those share moments, and so an `optimizer_id`. A stage is equal to no other if
  it cannot be compared, such as one whose loss has arguments without a hash.
  """
  alone = id(stage)
  if not stage.optimizer_id:
    return alone
  loss = stage.loss
  if isinstance(loss, functools.partial):
    loss = loss.func, loss.args, tuple(sorted(loss.keywords.items()))
  rows = stage.cached and stage.cached.function
  found = (
    *(stage.name, stage.optimizer_id, loss, rows, stage.after_step),
    *(stage.accumulate, tuple(sorted(stage.sharding.items()))),
    isinstance(stage.data, Mapping),
    tuple((name, _batches(data)) for name, data in stage.streams.items()),
  )
  try:
    hash(found)
  except TypeError:
    return alone
  return found


def _batches(data: stream_lib.Stream) -> Hashable:
  """What the cost of a step depends on of the batches of a stream."""
  leaves, structure = jax.tree.flatten(data.layout())
  return tuple(leaves), structure, data.views, len(data.source)


def _work(stage: Fit, state: State) -> _Work:
  moments = jax.eval_shape(stage.optimizer.init, state.params)
  rows = {name: _rows(stage, name, state) for name in stage.streams}
  return _Work(
    trained(stage.optimizer, state.params),
    rows,
    _step(stage, state, moments, rows),
    _on_device(moments, stage.sharding),
  )


def _step(
  stage: Fit, state: State, moments: PyTree, rows: Mapping[str, Batch]
) -> Cost:
  """The cost of one step, with the cached rows of some streams."""
  batches = {}
  for name, data in stage.streams.items():
    batch = data.layout(read_images=not rows[name])
    batches[name] = _on_devices({**batch, **rows[name]})
  batch = batches if isinstance(stage.data, Mapping) else batches[""]
  state, moments = parallel.map_axes(
    _in_shards, (state, moments), stage.sharding
  )
  has_rows = [name for name, found in rows.items() if found]
  step = descent.mapped(stage, state, moments, parallel.key(0), has_rows)
  number = jax.ShapeDtypeStruct((), np.int32)
  return cost.of(step, state.replace(assets={}), moments, batch, number)


def _rows(stage: Fit, name: str, state: State) -> Batch:
  """Shapes of a batch's cached rows; none if a step computes them itself."""
  data = stage.streams[name]
  if stage.cached is None or data.varies:
    return {}
  rows = jax.eval_shape(stage.cached.of_batch, state, data.layout())
  ordered = data.in_order()
  fits = stage.cached.fits(cost.size(rows), ordered.steps_per_epoch)
  return dict(rows) if fits else {}


def _on_devices(batch: Batch) -> Batch:
  """Shapes of `parallel.shard(batch)`."""
  devices = parallel.device_count()

  def shard(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    rows, *shape = x.shape
    if rows % devices:
      raise UserError(
        f"batch_size {rows} does not divide over {devices} devices; use a"
        f" multiple of {devices}."
      )
    return jax.ShapeDtypeStruct((devices, rows // devices, *shape), x.dtype)

  return jax.tree.map(shard, batch)


def _in_shards(
  x: jax.ShapeDtypeStruct | np.ndarray, axis: int | None
) -> jax.ShapeDtypeStruct | np.ndarray:
  """Shape of a leaf as devices hold it together; of an asset, the asset."""
  if axis is None:
    return x
  shape, devices = list(x.shape), parallel.device_count()
  shape[axis : axis + 1] = devices, shape[axis] // devices
  return jax.ShapeDtypeStruct(tuple(shape), x.dtype)


def _on_device(tree: PyTree, sharding: parallel.Sharding) -> int:
  """Bytes on one device."""
  devices = parallel.device_count()
  sizes = parallel.map_axes(
    lambda x, axis: cost.size(x) // (1 if axis is None else devices),
    tree,
    sharding,
  )
  return sum(jax.tree.leaves(sizes))


def _weights(config: Any) -> dict[str, str]:
  """What is missing of the weights that a backbone starts from."""
  name, found = config.get("backbone", {}).get("weights", ""), ""
  if name.startswith("hf:"):
    found = f"{name} is fetched from the hub when the run starts"
  elif name and not os.path.exists(name):
    found = f"there is no file {name}"
  return {"weights": found} if found else {}
