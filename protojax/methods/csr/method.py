"""CSR: concept-based similarity reasoning (Huy et al., CVPR 2025, 2503.06873).

Concept scores are similarities of single cells to concept prototypes, so each
score has a place in the image. A person can say where to look, reject a
concept, and remove prototypes.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
from ml_collections import ConfigDict
import numpy as np

from protojax import backbones, parallel, ranges
from protojax.data import concepts as concepts_lib
from protojax.data.source import Source
from protojax.data.stream import Stream
from protojax.datasets import dataset
from protojax.engine import adopt
from protojax.engine.cached import Cached
from protojax.engine.optimizer import adam, grouped
from protojax.engine.stage import Fit, Pass, epochs
from protojax.explain import prototypical
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, OF_NETWORK, Capabilities
from protojax.methods.csr import atlas, kmeans
from protojax.methods.csr import network as networks
from protojax.methods.csr import stages as stages_lib
from protojax.methods.csr.concept_layers import Projector
from protojax.methods.csr.network import ConceptNetwork
from protojax.metrics import concept_scores as metrics
from protojax.prototypes import push, start
from protojax.prototypes.bank import bank_of, with_vectors
from protojax.types import Array, ArrayLike, Batch, Metrics, State, UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "concepts.epochs": ranges.EPOCHS,
  "concepts.head": ranges.RATE,
  "concepts.backbone": ranges.RATE,
  "concepts.weight_decay": ranges.DECAY,
  "warm.epochs": ranges.EPOCHS,
  "prototypes.per_concept": ranges.COUNT,
  "prototypes.channels": ranges.CHANNELS,
  "prototypes.iterations": ranges.whole(0, 100_000),
  "prototypes.rounds": ranges.COUNT,
  "prototypes.epochs": ranges.EPOCHS,
  "prototypes.projector": ranges.RATE,
  "prototypes.rate": ranges.RATE,
  "prototypes.weight_decay": ranges.DECAY,
  "loss.scale": ranges.WEIGHT,
  "loss.gamma": ranges.WEIGHT,
  # Cosines are not farther apart.
  "loss.margin": ranges.Range(0.0, 2.0),
  "loss.margin_sign": ranges.whole(-1, 1),
  "task.epochs": ranges.EPOCHS,
  "task.head": ranges.RATE,
  "task.weight_decay": ranges.DECAY,
  "task.concept_dropout": ranges.HELD_OUT,
}


class Method:
  """CSR as its config says; see `configs/csr_composites.py`."""

  splits = ("train", "test")
  capabilities = Capabilities(
    classifies=OF_NETWORK,
    explains=prototypical.Explainer,
    intervenes=OF_NETWORK,
  )
  assets = NO_ASSETS

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    ranges.require(config, _RANGES)
    _require_known(config)
    self.config = config
    self.dataset = image_data.dataset(config, class_names, self._open)

  def _open(self, data: ConfigDict, split: str, seed: int) -> Source:
    source = dataset.open_split(data, split, seed)
    _require_concepts(self.config, source)
    return source

  @functools.cached_property
  def network(self) -> ConceptNetwork:
    """Backbone, concept head, projector, prototypes and task head."""
    c, b = self.config.prototypes, self.config.backbone
    return ConceptNetwork(
      backbones.load(b.name, b.dtype, b.remat),
      Projector(c.channels),
      c.per_concept,
      self.config.data.image_size,
      self.dataset.class_names,
      tuple(self.config.data.concepts) or self.dataset.class_names,
      self.config.reject,
    )

  def stream(self, split: str) -> Stream:
    """The images of a split in source order, without augmentation."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    c = self.config.backbone
    return self.network.init(
      key, blank_backbone=bool(c.pretrained or c.weights)
    )

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; concepts; prototypes from k-means, re-seeded; atlas; task.

    With `refine.remove`: these prototypes are removed; atlas; task.
    """
    c, ordered = self.config, self.stream("train")
    if c.refine.remove:
      yield Pass("refine", self.refine, ordered)
    else:
      yield Pass("start", self.start, ordered)
      yield from self._learn(ordered)
    yield Pass("atlas", self.atlas, ordered)
    yield stages_lib.task(
      self.network,
      self.dataset.shuffled(),
      grouped({"head": adam(c.task.head, c.task.weight_decay)}),
      epochs(c.task.epochs),
      features=self._features,
      dropout=c.task.concept_dropout,
    )

  def _learn(self, ordered: Stream) -> Iterator[Fit | Pass]:
    """The stages that learn concepts and prototypes."""
    c = self.config
    yield self._concept_stage()
    if c.warm.epochs:
      yield self._prototype_stage("warm", c.warm.epochs)
    yield Pass("k-means", self.cluster, ordered)
    for number in range(c.prototypes.rounds):
      if number:
        yield Pass("re-seed", self.move_unused, ordered)
      yield self._prototype_stage("prototypes", c.prototypes.epochs)

  def _concept_stage(self) -> Fit:
    """Trains the concept head and, unless its rate is 0, the backbone."""
    c = self.config.concepts
    rates = {"concepts": adam(c.head, c.weight_decay)}
    if c.backbone:
      rates["backbone"] = adam(c.backbone, c.weight_decay)
    return stages_lib.presence(
      self.network,
      self._present,
      self.dataset.shuffled(self.config.data.augment if c.backbone else ""),
      grouped(rates),
      epochs(c.epochs),
      features=self._features,
      frozen=not c.backbone,
      train_norm=c.train_norm,
    )

  def _prototype_stage(self, name: str, length: int) -> Fit:
    """Trains projector and prototypes; each round starts with new moments."""
    c, loss = self.config.prototypes, self.config.loss
    rates = {
      "projector": adam(c.projector, c.weight_decay),
      "prototypes": adam(c.rate),
    }
    return stages_lib.likeness(
      name,
      self.network,
      self._present,
      self.dataset.shuffled(),
      grouped(rates),
      epochs(length),
      features=self._features,
      gamma=loss.gamma,
      scale=loss.scale,
      margin=loss.margin_sign * loss.margin,
    )

  @functools.cached_property
  def _features(self) -> Cached:
    """Cached features of whole splits, for later stages and metrics."""
    return Cached(self.network.feature_rows, self.network.feature_part)

  @functools.cached_property
  def _present(self) -> Bool[np.ndarray, "n c"]:
    """Which concepts each training image shows."""
    return concepts_lib.present(self.dataset.source("train"))

  # The sweeps between the stages of gradient descent.

  def start(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """Pretrained weights, features of unit variance.

    Arrays that were taken over from another run do not change.
    """
    c, backbone = self.config, self.network.backbone
    if c.init_from and adopt.fitting(
      state, c.init_from, self.dataset.class_names
    ):
      return state, {}
    if c.backbone.pretrained or c.backbone.weights:
      state = start.pretrained(
        state, backbone, c.backbone.name, c.backbone.weights
      )
    if c.prototypes.standardise:
      shift, scale = start.standardisation(
        self.network.backbone_map, state, data, backbone.channels
      )
      statistics = {**state.statistics, "shift": shift, "scale": scale}
      state = state.replace(statistics=statistics)
    return state, {}

  def cluster(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """Every concept's prototypes become centres of its vectors (k-means)."""
    c, vectors = self.config.prototypes, self._projected(state, data)
    centres = kmeans.cluster_by_concept(
      vectors, self._present, c.per_concept, c.iterations
    )
    return _with_flat(state, centres), {}

  def move_unused(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """Prototypes nearest to no vector move to the worst covered vectors."""
    c = self.config.prototypes
    shape = (-1, c.per_concept, c.channels)
    moved, count = kmeans.move_unused(
      self._projected(state, data),
      self._present,
      bank_of(state).vectors.reshape(shape),
    )
    return _with_flat(state, moved), {"moved": count}

  def _projected(
    self, state: State, data: Stream
  ) -> Float[np.ndarray, "n c d"]:
    batches = self._features.batches(state, data)
    rows = parallel.each(self.network.projected_rows, state, batches)
    return np.concatenate([r["projected"][b["valid"]] for b, r in rows])

  def refine(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """Removes the prototypes that a person has chosen."""
    del data
    c, alive = self.config, np.array(bank_of(state).alive)
    unknown = [j for j in c.refine.remove if not 0 <= j < len(alive)]
    if unknown or not c.init_from:
      raise UserError(
        "--config.refine.remove takes numbers of prototypes, 0 to"
        f" {len(alive) - 1}, of a run that --config.init_from names; found"
        f" {', '.join(map(str, unknown)) or 'no such run'}"
      )
    alive[list(c.refine.remove)] = False
    return atlas.without(state, alive), {"alive": int(alive.sum())}

  def atlas(self, state: State, data: Stream) -> tuple[State, Metrics]:
    """Which training image shows each prototype best (eq. 11)."""
    batches = self._features.batches(state, data)
    found = atlas.atlas(self.network, state, data, batches, self._present)
    used = found["vectors"] > 0
    buffers = {**state.buffers, **found}
    return state.replace(buffers=buffers), {"used": int(used.sum())}

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities; each prototype's similarity, cell, and points.

    Points are those of the predicted class.
    """
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Metrics of classes and concepts: see `concept_scores.measure`.

    "pointing" is of each concept's best prototype, "map_pointing" of the
    concept head's map; both are absent if places are unknown.
    """
    data = self.stream(split)
    batches = self._features.batches(state, data)
    pieces = [
      {name: x[batch["valid"]] for name, x in rows.items()}
      for batch, rows in parallel.each(self._measured, state, batches)
    ]
    found = jax.tree.map(lambda *x: np.concatenate(x), *pieces)
    grid = self.network.grid
    return metrics.measure(data.source, found, grid, data.kept.frame)

  def _measured(self, state: State, batch: Batch) -> dict[str, Array]:
    found = self.network.rows(state, batch)
    best = self.network.best(state, found["scores"])
    return {
      "logits": found["logits"],
      "concept_logits": found["concept_logits"],
      "map_cells": found["map_cells"],
      "best_cells": jnp.take_along_axis(found["cells"], best, axis=1),
    }

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Counts of prototypes, and the names of classes and concepts."""
    alive = np.asarray(bank_of(state).alive)
    used = alive & (np.asarray(state.buffers["vectors"]) > 0)
    return {
      "headline": "macro_f1",
      **push.counts(state),
      "used": int(used.sum()),
      "class_names": list(self.dataset.class_names),
      "concept_names": list(self.network.concept_names),
    }


def _with_flat(state: State, found: Float[ArrayLike, "c m d"]) -> State:
  """The state with these vectors, concept by concept, in its bank's shape."""
  shape = bank_of(state).vectors.shape
  return with_vectors(state, np.asarray(found).reshape(shape))


def _require_known(config: ConfigDict) -> None:
  """Refuses settings that would fail only after training."""
  if config.reject not in networks.REJECTIONS:
    raise UserError(
      f"--config.reject is {config.reject!r}; choose one of"
      f" {', '.join(networks.REJECTIONS)}."
    )


def _require_concepts(config: ConfigDict, source: Source) -> None:
  named = tuple(config.data.concepts) or source.class_names
  found = concepts_lib.names(source)
  if named != found:
    raise UserError(
      f"--config.data.concepts is {', '.join(named)}; these data have"
      f" {', '.join(found)}"
    )
