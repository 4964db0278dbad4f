"""CoMEL: weakly labelled bags of instances, learned task after task.

Lee et al., ICCV 2025 (2507.02395). A bag says only whether one of its instances
is positive. GDAT and attention pooling find which; BPPL teaches them by pseudo
labels; OWLoRA lets later tasks change only what earlier ones do not use. No bag
of an earlier task is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Int
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import parallel
from protojax.data import stream as stream_lib
from protojax.data.source import origin
from protojax.data.stream import Stream
from protojax.datasets import bag_source
from protojax.datasets.dataset import Dataset
from protojax.engine.optimizer import adam, grouped
from protojax.engine.stage import Fit, Pass, epochs
from protojax.layers import lora
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.comel import (
  pseudo_labels,
  scores,
  settings,
  stream_summary,
  tasks,
)
from protojax.methods.comel.explanation import EXPLAINER, Classifier
from protojax.methods.comel.network import Seen, probabilities
from protojax.methods.comel.scores import Judged
from protojax.methods.comel.stream_summary import Figures
from protojax.methods.comel.tasks import Rules, Task
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError


class Method:
  """CoMEL as its config says; see `configs/comel_folder.py`."""

  assets = NO_ASSETS
  capabilities = Capabilities(classifies=Classifier, explains=EXPLAINER)

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, 0)
    self.dataset = Dataset(
      config.data, config.seed, config.batch_size, class_names
    )

  @functools.cached_property
  def tasks(self) -> tuple[str, ...]:
    """Names of the tasks, in order."""
    names = self.dataset.class_names
    return tuple(name.rpartition(": ")[0] for name in names[::2])

  @functools.cached_property
  def network(self) -> Any:
    """Of all tasks."""
    return settings.network(self.config, len(self.tasks))

  @functools.cached_property
  def labels(self) -> pseudo_labels.Settings:
    """How instances get pseudo labels."""
    return settings.labels(self.config)

  @functools.cached_property
  def rules(self) -> Rules:
    """What keeps the network from forgetting."""
    a, c = self.config.adapters, self.config.continual
    return Rules(
      self.config.baseline,
      a.mode,
      a.protect,
      a.orthonormal,
      c.ewc,
      c.lwf,
      c.lwf_temperature,
    )

  def source(self, split: str) -> Any:
    """The bags of a split.

    Raises:
      UserError: they do not fit the config.
    """
    source, c = self.dataset.source(split), self.config.network
    bags: Any = origin(source)[0]
    if not isinstance(bags, bag_source.Bags):
      # A plan without the data: `stand_in` has images alone.
      count, classes = len(source), len(source.class_names)
      source = bags = bag_source.missing(count, classes, c.channels)
      self.dataset.sources[split] = source
    if bags.channels != c.channels:
      raise UserError(
        f"the bags have vectors of {bags.channels} numbers, and the network"
        f" takes {c.channels}: set --config.network.channels={bags.channels}"
      )
    if not bags.placed and c.grouping == "region" and self.network.blocks:
      raise UserError(
        "some bags have no coordinates, which groups by region need: add"
        " 'coords' [n 2] to each, or set --config.network.grouping=strided"
      )
    return source

  def stream(self, split: str) -> Stream:
    """The bags of a split in source order."""
    self.source(split)
    return self.dataset.ordered(split)

  # The stream of tasks.

  def init(self, key: Array) -> State:
    """Layers, and heads and adapters of all tasks; U = 0 changes nothing."""
    network = self.network
    params = network.init(key, settings.ranks(self.config, network))
    statistics: dict[str, PyTree] = {
      "thresholds": {f"task_{t}": jnp.float32(0.5) for t in self._numbers}
    }
    buffers: dict[str, PyTree] = {"begun": jnp.int32(0)}
    if self._directions:
      buffers["bases"] = {
        name: lora.empty_bases(inputs, outputs, self._columns(name))
        for name, (inputs, outputs) in network.kernels.items()
      }
    if self.config.baseline in ("ewc", "lwf"):
      buffers["before"] = jax.tree.map(jnp.zeros_like, params)
    if self.config.baseline == "ewc":
      statistics["fisher"] = jax.tree.map(jnp.zeros_like, params)
    return State(params, statistics, buffers, {"quality": tasks.at_start()})

  def stages(self) -> Iterator[Fit | Pass]:
    """For each task: what is free, learning, and what is to be kept."""
    self._require_learned()
    for t in self._numbers[self.config.learned :]:
      name, task = self.tasks[t], self._task(t)
      own = self._rows(t)
      if t:
        yield Pass(f"begin {name}", functools.partial(self.begin, t), own)
      yield Fit(
        f"learn {name}",
        task.loss,
        self._data(t),
        self._optimizer(t, task),
        epochs(self.config.train.epochs),
        after_step=task.after_step,
      )
      yield Pass(f"keep {name}", functools.partial(self.keep, t), own)

  def begin(self, t: int, state: State, data: Stream) -> tuple[State, Metrics]:
    """Finds the directions that are free, and starts new adapters there."""
    del data
    buffers = {**state.buffers, "begun": np.int32(t)}
    if "before" in buffers:
      buffers["before"] = jax.tree.map(np.array, state.params)
    state, free = state.replace(buffers=buffers), {}
    if not self._directions:
      return state, {}
    reparam, protect = self.rules.mode == "reparam", self.rules.protect
    name, bases, adapters = f"adapter_{t}", {}, {}
    for layer, kernel in state.params["base"]["kernels"].items():
      before = self.network.adapters(state.params, layer)[: t - 1]
      found = lora.bases(
        kernel, before if reparam else [], protect, self._columns(layer)
      )
      bases[layer] = found
      adapter = state.params[name][layer]
      adapters[layer] = lora.projected(adapter, found) if reparam else adapter
      used = [int(np.any(basis, axis=0).sum()) for basis in found]
      left = [len(b) - n for b, n in zip(found, used, strict=True)]
      free[f"free_{layer}"] = min(left)
    state = state.replace(
      params={**state.params, name: parallel.to_host(adapters)},
      buffers={**buffers, "bases": bases},
    )
    return state, free

  def keep(self, t: int, state: State, data: Stream) -> tuple[State, Metrics]:
    """Cuts W_0 after the first task; threshold, Fisher and label figures."""
    if not t and self._directions:
      # Before anything is measured: the network is another one then.
      energy = self.config.adapters.energy
      kernels = {
        name: lora.truncated(kernel, energy)
        for name, kernel in state.params["base"]["kernels"].items()
      }
      truncated = {**state.params["base"], "kernels": kernels}
      state = state.replace(params={**state.params, "base": truncated})
    metrics, judged = self._labelled(state, data)
    threshold = scores.threshold(judged)
    statistics = {**state.statistics}
    if threshold is not None:
      statistics["thresholds"] = {
        **statistics["thresholds"],
        f"task_{t}": np.float32(threshold),
      }
      metrics["threshold"] = threshold
    if "fisher" in statistics:
      statistics["fisher"] = self._fisher(t, state, data)
    return state.replace(statistics=statistics), metrics

  @functools.cached_property
  def _numbers(self) -> range:
    return range(len(self.tasks))

  @property
  def _directions(self) -> bool:
    """Whether adapters keep to free directions."""
    return (
      not self.rules.baseline
      and self.rules.mode != "none"
      and len(self.tasks) > 1
    )

  def _columns(self, name: str) -> int:
    """Most directions that are used when the last task begins."""
    ranks = settings.ranks(self.config, self.network) or {name: 0}
    later = max(len(self.tasks) - 2, 0)
    return min(self.network.kernels[name]) + ranks[name] * later

  def _require_learned(self) -> None:
    if self.config.learned >= len(self.tasks):
      raise UserError(
        f"--config.learned={self.config.learned} of"
        f" {len(self.tasks)} tasks leaves none to train:"
        f" {', '.join(self.tasks)}"
      )

  def _task(self, t: int) -> Task:
    steps = len(self._of(t)) // self.config.batch_size
    if not steps:
      raise UserError(
        f"the task {self.tasks[t]!r} has {len(self._of(t))} training bags,"
        f" fewer than --config.batch_size={self.config.batch_size}"
      )
    return Task(t, self.network, self.rules, self.labels, steps)

  def _of(self, t: int) -> Int[np.ndarray, " n"]:
    """Positions of the training bags of a task."""
    return np.flatnonzero(np.asarray(self.source("train").labels) // 2 == t)

  def _rows(self, t: int) -> Stream:
    """The training bags of a task in order."""
    size = self.config.batch_size
    source = self.source("train")
    return stream_lib.ordered(source, 0, size, rows=self._of(t))

  def _data(self, t: int) -> Stream | Mapping[str, Stream]:
    own = self.dataset.shuffled(rows=self._of(t), order=f"task {t}")
    if self.config.baseline != "er" or not t:
      return own
    old = np.concatenate([self._of(s) for s in range(t)])
    rng = np.random.default_rng([self.config.seed, t])
    # As of a reservoir: each bag so far has the same chance to be kept.
    kept = rng.permutation(old)[: self.config.continual.er_bags]
    size = self.config.batch_size
    kept = np.resize(kept, max(len(kept), size))
    return {
      "task": own,
      "old": self.dataset.shuffled(rows=kept, order=f"old {t}"),
    }

  def _optimizer(self, t: int, task: Task) -> optax.GradientTransformation:
    c = self.config.train
    steps = c.epochs * task.steps_per_epoch
    rate = optax.cosine_decay_schedule(c.rate, steps)
    groups = [f"head_{t}", task.adapter or "base"]
    if self.config.baseline:
      groups = ["base", *(f"head_{s}" for s in range(t + 1))]
    return grouped({name: adam(rate, c.weight_decay) for name in groups})

  def _fisher(self, t: int, state: State, data: Stream) -> PyTree:
    """decay F + the mean squared gradient of this task's bags."""
    step = functools.partial(tasks.fisher, self.network, t + 1)
    zeros = jax.tree.map(np.zeros_like, state.params)
    sums = parallel.fold(step, state, zeros, data.batches())
    decay, count = self.config.continual.ewc_decay, len(data)
    return jax.tree.map(
      lambda old, new: np.float32(decay * old + new.sum(axis=0) / count),
      state.statistics["fisher"],
      sums,
    )

  # What is said of bags.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities; of the instances attention and p, 0: padding."""
    return self._said(
      tasks.seen(self.network, state.params, batch), state, batch
    )

  def _said(self, found: Seen, state: State, batch: Batch) -> dict[str, Array]:
    logits = tasks.begun(found.logits, state.buffers["begun"])
    valid = batch["bag"]["valid"]
    return {
      "logits": logits,
      "probabilities": jax.nn.softmax(logits),
      "attention": found.attention,
      "instances": jax.vmap(probabilities)(found.attention, valid),
    }

  def marked(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """`predict`, and of the instances pseudo labels and distances.

    "q", "label" and "kept" (by tau_2 alone); "to_positive" and "to_negative",
    the distances to the bag's prototypes z+ and z-; "positive" and "negative",
    the two prototypes.
    """
    found = tasks.seen(self.network, state.params, batch)
    valid = batch["bag"]["valid"]
    least = state.memory["quality"].least

    def one(features: Any, attended: Any, valid: Any) -> dict[str, Array]:
      made = pseudo_labels.labels(features, attended, valid, self.labels)
      kept = pseudo_labels.kept(made, valid, least, self.labels)
      kind = self.labels.background
      both = pseudo_labels.prototypes(features, attended, valid, kind)
      near = [pseudo_labels.distances(features, z) for z in both]
      return {
        "q": made.positive,
        "label": made.label,
        "kept": kept,
        **dict(zip(("positive", "negative"), both, strict=True)),
        **dict(zip(("to_positive", "to_negative"), near, strict=True)),
      }

    made = jax.vmap(one)(found.features, found.attention, valid)
    return {**self._said(found, state, batch), **made}

  def _labelled(
    self, state: State, data: Stream
  ) -> tuple[dict[str, float], Judged]:
    """Figures of the pseudo labels of a task's training bags; the answers."""
    figures, parts = Figures(self.labels.confidence), []
    for batch, rows in parallel.each(self.marked, state, data.batches()):
      parts.append(scores.of_batch(batch, rows))
      figures.add(batch, rows)
    found = figures.found() if self.labels.weight else {}
    return found, scores.joined(parts)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Metrics of each task that has begun, and their means."""
    count = int(state.buffers["begun"])
    data = self.stream(split)
    rows = np.flatnonzero(np.asarray(data.source.labels) // 2 < count)
    judged = scores.joined(
      [
        scores.of_batch(batch, made)
        for batch, made in parallel.each(self.predict, state, data.some(rows))
      ]
    )
    found = {}
    for t in range(count):
      own = judged.labels // 2 == t
      if own.any():
        threshold = float(state.statistics["thresholds"][f"task_{t}"])
        found[self.tasks[t]] = scores.of_task(judged.of(own), threshold)
    every = {
      f"{stream_summary.slug(task)}_{name}": value
      for task, metrics in found.items()
      for name, value in metrics.items()
    }
    return {**scores.mean(found), **every}

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """A_T and forgetting of each metric, and the figures of pseudo labels."""
    del state
    return stream_summary.summary(self.tasks, stages)
