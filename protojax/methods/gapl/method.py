"""GAPL: tells generated images from real ones, whatever made them.

Qin et al., CVPR 2026 (2512.12982). First a bottleneck behind a frozen encoder
is trained on images of a few generators, and the principal directions of its
embeddings, class by class, become the prototypes. Then the encoder adapts by
low-rank adapters to many generators, and each image is read as a mixture of the
prototypes.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import parallel
from protojax.data import columns
from protojax.data import stream as stream_lib
from protojax.data.source import Source, subset
from protojax.engine.assets import Asset
from protojax.engine.cached import Cached
from protojax.engine.optimizer import grouped, warmup_cosine
from protojax.engine.stage import Fit, Pass, epochs
from protojax.engine.terms import Aux, Now, Term
from protojax.methods import image_data
from protojax.methods.base import OF_NETWORK, Capabilities, splits
from protojax.methods.gapl import dictionary, explanation, judging, settings
from protojax.methods.gapl.network import Network, entropy
from protojax.prototypes import bank, start
from protojax.types import Array, Batch, Metrics, PyTree, State


class Method:
  """GAPL as its config says; see `configs/gapl_folder.py`."""

  capabilities = Capabilities(
    classifies=OF_NETWORK, explains=explanation.EXPLAINER
  )

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    settings.require(config)
    self.config = config
    self.splits = splits(config.data.validation_fraction, 0)
    self.dataset = image_data.dataset(config, class_names)

  @functools.cached_property
  def network(self) -> Network:
    """Encoder, prototypes and classifier."""
    return settings.network(self.config)

  @functools.cached_property
  def assets(self) -> Mapping[str, Asset]:
    """The encoder, whose own weights no stage changes."""
    b, backbone = self.config.backbone, self.network.backbone
    random = functools.partial(
      backbone.init,
      jax.random.split(parallel.init_key(self.config.seed))[0],
      self.config.data.image_size,
    )
    make = jax.jit(random)
    if b.pretrained or b.weights:
      make = functools.partial(start.variables, backbone, b.name, b.weights)
    shapes = functools.partial(jax.eval_shape, random)
    kept = not b.pretrained or bool(b.weights)
    return {"encoder": Asset(make, shapes, kept)}

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    return self.network.init(key)

  def stages(self) -> Iterator[Fit | Pass]:
    """Bottleneck, dictionary; adapters and attention; threshold."""
    c = self.config
    if c.first.epochs:
      yield self._first()
    if self.network.count and c.baseline != "random":
      yield Pass("dictionary", self.make_dictionary, self._of_first())
    if c.second.epochs:
      yield self._second()
    split = "validation" if "validation" in self.splits else "train"
    yield Pass("threshold", self.choose_threshold, self.stream(split))

  def _first(self) -> Fit:
    """Stage I: a linear classifier through the unit sphere, on cached rows."""
    c, source = self.config, self._first_source
    data = stream_lib.shuffled(
      source,
      c.data.image_size,
      min(c.batch_size, len(source)),
      c.seed,
      resizing=self.dataset.resizing,
    )
    return Fit(
      "bottleneck",
      self.bottleneck_loss,
      data,
      self._optimizer(
        ("projection", "bottleneck"), c.first.rate, c.first.epochs, data
      ),
      epochs(c.first.epochs),
      cached=self._rows,
    )

  def _second(self) -> Fit:
    """Stage II: all that is trained, on images of all generators."""
    c = self.config
    data = self.dataset.shuffled(c.data.augment)
    groups = ["projection", "classifier"]
    groups += ["attention"] if self.network.count else []
    groups += ["adapters"] if self.network.adapters else []
    return Fit(
      "adapt",
      self.loss,
      data,
      self._optimizer(groups, c.second.rate, c.second.epochs, data),
      epochs(c.second.epochs),
    )

  def _optimizer(
    self,
    groups: Sequence[str],
    rate: float,
    count: int,
    data: stream_lib.Stream,
  ) -> optax.GradientTransformation:
    """AdamW; a warm-up, then a cosine, in one closed form."""
    o = self.config.optimizer
    steps = epochs(count).steps(data.steps_per_epoch)
    schedule = warmup_cosine(rate, round(o.warmup * steps), steps, rate * o.end)
    rule = optax.adamw(schedule, weight_decay=o.weight_decay)
    return grouped(dict.fromkeys(groups, rule), o.clip_norm)

  @functools.cached_property
  def _first_source(self) -> Source:
    """Training images of the first generators; of all, if none are known."""
    source, count = self.dataset.source("train"), self.config.first.generators
    groups = columns.groups(source)
    if groups is None or not count:
      return source
    first = np.unique(groups)[:count]
    return subset(source, np.flatnonzero(np.isin(groups, first)))

  def _of_first(self) -> stream_lib.Stream:
    c = self.config
    return stream_lib.ordered(
      self._first_source,
      c.data.image_size,
      c.batch_size,
      resizing=self.dataset.resizing,
    )

  @functools.cached_property
  def _rows(self) -> Cached:
    """Vectors of the frozen encoder, computed once."""
    return Cached(self.network.frozen, lambda state: np.zeros(1))

  def bottleneck_loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy of stage I."""
    del state, now
    f = self.network.embedding(params, batch["vector"])
    return _terms((f @ params["bottleneck"]["kernel"])[:, 0], batch["label"])

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy of stage II."""
    keys = parallel.example_keys(now.key, batch["index"], batch.get("draw"))
    found = self.network.trained(params, state, batch, keys)
    return _terms(found.logit, batch["label"])

  # The sweeps between.

  def make_dictionary(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Prototypes of the embeddings of stage I, or those of a file."""
    p = self.config.prototypes
    if p.weights:
      rows = dictionary.read(p.weights, p.count, p.channels)
      return _with_dictionary(state, rows), {}
    found, labels = [], []
    batches = self._rows.batches(state, data)
    for batch, made in parallel.each(self._embedded, state, batches):
      found.append(made["embedding"][batch["valid"]])
      labels.append(batch["label"][batch["valid"]])
    embeddings, known = np.concatenate(found), np.concatenate(labels)
    rows = dictionary.of_classes(embeddings, known, p.count)
    centred = embeddings - embeddings.mean(axis=0)
    seen = [np.sum((centred @ half.T) ** 2) for half in np.split(rows, 2)]
    share = float(np.mean(seen) / np.sum(centred**2))
    return _with_dictionary(state, rows), {"dictionary_share": share}

  def _embedded(self, state: State, batch: Batch) -> Mapping[str, Array]:
    vectors = batch.get("vector")
    if vectors is None:
      vectors = self.network.frozen(state, batch)["vector"]
    return {"embedding": self.network.embedding(state.params, vectors)}

  def choose_threshold(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """On generators that were held out of training; without any, 0.5."""
    if "validation" not in self.splits:
      parallel.say(
        "note: no generator is held out of training, so the threshold is 0.5;"
        " hold out some with --config.data.validation_fraction=0.2"
      )
      return state, {}
    chosen = judging.threshold(self._judged(state, data))
    buffers = {**state.buffers, "threshold": np.float32(chosen)}
    return state.replace(buffers=buffers), {"threshold": chosen}

  def _judged(self, state: State, data: stream_lib.Stream) -> judging.Judged:
    channels = self.network.channels
    return judging.judged(self._measured, state, data, channels)

  def _measured(self, state: State, batch: Batch) -> Mapping[str, Array]:
    found = self.network.forward(state, batch["image"])
    names = "logit", "embedding", "mixed"
    return {name: getattr(found, name) for name in names}

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities, and what each prototype gives."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Metrics of the verdicts; see `judging.metrics`."""
    found = self._judged(state, self.stream(split))
    return judging.metrics(found, float(state.buffers["threshold"]))

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The threshold, and the accuracy by generator."""
    del stages
    found = self._judged(state, self.stream("test"))
    return {
      "headline": "accuracy",
      "threshold": float(state.buffers["threshold"]),
      "by_generator": found.by_generator(0.5),
    }


def _terms(logit: Array, labels: Array) -> tuple[dict[str, Term], Aux]:
  each = entropy(logit, labels)
  right = jnp.sum((logit > 0) == (labels == 1))
  return (
    {"cross_entropy": Term(jnp.sum(each), len(each))},
    Aux(metrics={"accuracy": Term(right, len(each))}),
  )


def _with_dictionary(state: State, rows: np.ndarray) -> State:
  return bank.with_vectors(state, rows[:, None, None])
