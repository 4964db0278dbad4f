"""What the benchmarks of CSR measure on: a run, and a bottleneck beside it."""

from collections.abc import Callable
import copy
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import loading, methods, parallel
from protojax.data import concepts
from protojax.data.places import holds
from protojax.engine import descent
from protojax.interact.importance_map import importance_map
from protojax.methods.csr import atlas, losses
from protojax.methods.csr.interventions import predict_with
from protojax.metrics import concept_scores as metrics
from protojax.operations.training import train
from protojax.prototypes.bank import bank_of
from protojax.types import Array, State

# Where runs are kept, so that every table of a seed reads the same one.
_RUNS = Path("runs/benchmarks")
# What remains of the importance of what no box covers.
_ALPHA = 0.3
# Of many images at once; compiled once a shape.
_ask = jax.jit(jax.vmap(predict_with, (0, None, 0, 0)))


def trained(config: ConfigDict) -> "Trained":
  """The run of a config, which is trained if it is not there yet."""
  folder = _RUNS / f"csr-{config.data.name}-{config.seed}"
  if status := train(folder, config):
    raise SystemExit(status)
  return Trained(folder)


class Trained:
  """A run, and the features of its test images."""

  def __init__(self, folder: Path) -> None:
    self.method, self.state, _ = loading.load(folder)
    self.network = self.method.network
    self.stream = self.method.stream("test")
    self.source: Any = self.stream.source
    self.present = concepts.present(self.source)
    self.features = self.rows("test")

  def rows(self, split: str) -> np.ndarray:
    """Features of the backbone, [n h w e]."""
    stream = self.method.stream(split)
    batches = self.method._features.batches(self.state, stream)
    return np.concatenate([b["features"][b["valid"]] for b in batches])

  @functools.cached_property
  def embedded(self) -> np.ndarray:
    """The test images as prototypes are compared with them, [n h w d]."""
    project = jax.jit(self.network.project)
    return np.asarray(project(self.state.params, self.features))

  def answers(
    self,
    importance: np.ndarray | None = None,
    rejected: np.ndarray | None = None,
    state: State | None = None,
  ) -> Any:
    """What the model says of the test images, corrected or not."""
    state = state or self.state
    n, h, w, _ = self.embedded.shape
    if importance is None:
      importance = np.ones((n, h, w), np.float32)
    if rejected is None:
      rejected = np.zeros(self.present.shape, bool)
    readout = self.network.readout(state)
    found = _ask(self.embedded, readout, importance, rejected)
    return jax.tree.map(np.asarray, found)

  def importance(
    self, boxes: Callable[[int], tuple[np.ndarray, np.ndarray]]
  ) -> np.ndarray:
    """Maps from what `boxes` gives of each image: positive and negative."""
    drawn = [boxes(i) for i in range(len(self.source))]
    positive, negative = (np.stack(rows) for rows in zip(*drawn, strict=True))
    draw = functools.partial(
      importance_map, alpha=_ALPHA, grid=self.network.grid
    )
    return np.asarray(jax.jit(jax.vmap(draw))(positive, negative))

  def told(self, logits: np.ndarray, rows: Any = slice(None)) -> dict:
    """Macro-F1 and accuracy."""
    labels, answers = self.source.labels[rows], logits[rows].argmax(axis=1)
    right = float(np.mean(answers == labels))
    return {"macro_f1": metrics.macro_f1(labels, answers), "accuracy": right}

  def refined(self) -> tuple[State, int]:
    """Without the prototypes whose atlas shows the tag; and how many."""
    train: Any = self.method.stream("train").source
    shown, alive = bank_of(self.state).provenance, []
    for image, cell in zip(shown.image, shown.cell, strict=True):
      tag = train.tag(int(image))
      lies = tag is not None and holds(tag[None], *centre(cell, self.network))
      alive.append(not lies)
    state = atlas.without(self.state, np.array(alive))
    return _with_head(self.method, state), alive.count(False)

  def with_task(self, **changes: Any) -> "Trained":
    """The same, its task head learned anew by another config."""
    config = self.method.config.copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(changes)
    other = copy.copy(self)
    other.method = methods.load(config.lock(), self.network.class_names)
    other.method.dataset.sources = self.method.dataset.sources
    other.network = other.method.network
    every = np.ones(len(bank_of(self.state).alive), bool)
    other.state = _with_head(other.method, atlas.without(self.state, every))
    return other


def _with_head(method: Any, state: State) -> State:
  """The state after the method's last stage."""
  *_, task = method.stages()
  moments = task.optimizer.init(state.params)
  for update in descent.fit(task, state, moments, parallel.key(0)):
    last = update
  return parallel.to_host(last.state)


def centre(cell: int, network: Any) -> tuple[float, float]:
  """Of a cell, from above and from the left, in shares of the image."""
  rows, columns = network.grid
  row, column = divmod(int(cell), columns)
  return (row + 0.5) / rows, (column + 0.5) / columns


def padded(rows: list) -> np.ndarray:
  """Four boxes of each image, so that one program serves all."""
  return np.pad(np.reshape(rows, (-1, 4)), ((0, 4 - len(rows)), (0, 0)))


class Bottleneck:
  """A joint concept bottleneck (Koh et al., 2020) on the same features.

  Maps, their means as concept logits, and a linear layer on the concepts'
  probabilities; cross entropy of classes and concepts together.
  """

  def __init__(self, trained: Trained, steps: int = 2000) -> None:
    method = trained.method
    source = method.stream("train").source
    features = jnp.asarray(trained.rows("train"))
    present, labels = jnp.asarray(concepts.present(source)), source.labels
    c, k = present.shape[1], len(method.network.class_names)
    params = {
      "maps": jnp.zeros((features.shape[-1], c)),
      "weight": jnp.zeros((c, k)),
      "bias": jnp.zeros(k),
    }
    optimizer = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(1e-3))

    def loss(params: Any, rows: Array) -> Array:
      logits, seen = self.forward(params, features[rows])
      task = optax.softmax_cross_entropy_with_integer_labels(
        logits, jnp.asarray(labels)[rows]
      )
      return jnp.mean(task + losses.presence(seen, present[rows]))

    def step(carry: Any, key: Array) -> tuple[Any, None]:
      params, moments = carry
      rows = jax.random.randint(key, (50,), 0, len(labels))
      gradients = jax.grad(loss)(params, rows)
      updates, moments = optimizer.update(gradients, moments, params)
      return (optax.apply_updates(params, updates), moments), None

    keys = jax.random.split(jax.random.key(method.config.seed), steps)
    start = params, optimizer.init(params)
    (self.params, _), _ = jax.jit(lambda x: jax.lax.scan(step, x, keys))(start)

  @staticmethod
  def forward(params: Any, features: Array) -> tuple[Array, Array]:
    """Logits of classes and of concepts."""
    seen = jnp.mean(features, axis=(1, 2)) @ params["maps"]
    probabilities = jax.nn.sigmoid(seen)
    return probabilities @ params["weight"] + params["bias"][None], seen

  def figures(self, trained: Trained) -> tuple[dict, float]:
    """Macro-F1 and accuracy in the test, and how often its maps point right."""
    logits, _ = self.forward(self.params, jnp.asarray(trained.features))
    maps = trained.features @ np.asarray(self.params["maps"])
    cells = maps.reshape(len(maps), -1, maps.shape[-1]).argmax(axis=1)
    grid = trained.network.grid
    pointing = metrics.pointing(trained.source, cells, grid)
    return trained.told(np.asarray(logits)), pointing
