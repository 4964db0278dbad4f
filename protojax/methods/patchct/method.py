"""PatchCT: several labels of an image, and the patches that speak for them.

Li et al., ICCV 2023 (2307.09066). Patches of an image and its labels are two
sets of vectors in one space; the cost of transporting one to the other in both
directions is added to the loss of a classifier. No code was published, and the
paper's equations were not at hand: docs/patchct.md says what is from where.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import backbones, text
from protojax.data import stream as stream_lib
from protojax.data.source import origin
from protojax.engine import adopt, memory
from protojax.engine.assets import Asset
from protojax.engine.optimizer import grouped, warmup_cosine
from protojax.engine.stage import Fit, Pass, epochs
from protojax.engine.terms import Aux, Now, Term
from protojax.methods import image_data
from protojax.methods.base import Capabilities, splits
from protojax.methods.patchct import (
  explanation,
  judging,
  losses,
  settings,
  transport,
)
from protojax.methods.patchct.labels import Labels
from protojax.methods.patchct.network import Found, Network
from protojax.prototypes import start
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError
from protojax.weights import clip, reading


class Weights(NamedTuple):
  """Weights of the terms of a stage.

  Attributes:
    transport: lambda.
    patches: of the loss of the patches' own logits.
    absent: of the hinge on absent labels.
  """

  transport: float
  patches: float
  absent: float


class Method:
  """PatchCT as its config says; see `configs/patchct_folder.py`."""

  capabilities = Capabilities(
    tags=explanation.Tagger, explains=explanation.EXPLAINER
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
    """Both towers, and what joins them."""
    c, b, t = self.config, self.config.backbone, self.config.text
    encoder = text.load(t.name, t.vocabulary) if t.name else None
    backbone = backbones.load(b.name, b.dtype, b.remat)
    levels = settings.levels(backbone, tuple(c.layers))
    labels = Labels(
      self.dataset.class_names,
      encoder,
      t.template,
      t.weights,
      t.trainable,
      t.early,
    )
    return Network(
      backbone,
      levels,
      c.channels,
      labels,
      c.data.image_size,
      c.head.scale,
      c.transport.temperature,
      c.transport.null > 0,
      c.head.shared,
    )

  @property
  def assets(self) -> Mapping[str, Asset]:
    """The text tower's vectors, unless it is trained."""
    return self.network.labels.assets

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    b = self.config.backbone
    state = self.network.init(key, bool(b.pretrained or b.weights))
    if self.config.optimizer.average:
      state = state.replace(memory={"average": state.params})
    return state

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; align patches and labels, if asked to; train; average."""
    c = self.config
    yield Pass("start", self.start, self.stream("train"))
    if c.align.epochs:
      yield self._fit("align", c.align, Weights(0.0, 1.0, 0.0))
    weights = Weights(c.loss.transport, c.loss.patches, c.loss.absent)
    if c.train.epochs:
      yield self._fit("train", c.train, weights)
    if c.optimizer.average:
      yield Pass("average", self.average, self.stream("train"))

  def _fit(self, name: str, c: Any, weights: Weights) -> Fit:
    """A stage of gradient descent with its rates and weights."""
    o, data = self.config.optimizer, self.config.data
    varied = self.dataset.shuffled(data.augment)
    length = epochs(c.epochs)
    steps = length.steps(varied.steps_per_epoch)
    warmup = round(o.warmup * steps)

    def rule(rate: float) -> optax.GradientTransformation:
      schedule = warmup_cosine(rate, warmup, steps)
      return optax.adamw(
        schedule, weight_decay=o.weight_decay, mask=_are_matrices
      )

    rates = {"backbone": c.backbone, "labels": c.labels}
    rates |= dict.fromkeys(("maps", "adapter", "classifier"), c.rate)
    if self.network.labels.trainable:
      rates["text"] = c.text
    if self.config.transport.learned:
      rates["temperature"] = c.rate
    if self.network.null:
      rates["null"] = c.rate
    return Fit(
      name,
      functools.partial(self.loss, weights),
      varied,
      grouped({name: rule(r) for name, r in rates.items() if r}, o.clip_norm),
      length,
      after_step=self._moved if o.average else None,
    )

  def loss(
    self, weights: Weights, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """L = ASL + lambda CT, and what is selected beside it."""
    del now
    found, statistics = self.network.forward(params, state, batch, train=True)
    labels, count = batch["labels"], len(batch["labels"])
    terms = {
      "classification": Term(
        jnp.sum(self._asymmetric(found.logits, labels)), count
      )
    }
    similarity = self.network.similarity(params, found)
    if weights.patches:
      each = self._patch_logits(params, similarity[-1], labels.shape[-1])
      total = jnp.sum(self._asymmetric(each, labels))
      terms["patches"] = Term(total, count, weights.patches)
    if weights.transport:
      forward, backward = self._costs(params, found, similarity, labels)
      c = self.config.transport
      total = c.forward * jnp.sum(forward) + c.backward * jnp.sum(backward)
      terms["transport"] = Term(total, count, weights.transport)
    if weights.absent:
      own = similarity[-1, :, :, : labels.shape[-1]]
      plan = jax.nn.softmax(own / self.network.heat(params), axis=1)
      each = losses.absent_hinge(own, plan, labels, self.config.loss.margin)
      terms["absent"] = Term(jnp.sum(each), count, weights.absent)
    return terms, Aux(statistics)

  def _asymmetric(self, logits: Array, labels: Array) -> Array:
    c = self.config.loss
    return losses.asymmetric(logits, labels, c.positive, c.negative, c.clip)

  def _patch_logits(
    self, params: PyTree, similarity: Array, labels: int
  ) -> Array:
    """Logits of the patches alone, with the scale of the class token's."""
    t = self.network.heat(params)
    scores = losses.patch_scores(similarity[..., :labels], t)
    return self.network.logits(params, scores)

  def _costs(
    self, params: PyTree, found: Found, similarity: Array, labels: Array
  ) -> transport.Costs:
    """Costs of both directions, means over the layers: [b] each."""
    c, t = self.config.transport, self.network.heat(params)
    beta = transport.masses(labels, c.null if c.null else None)
    layers, b, j, _ = similarity.shape
    if c.theta == "attention":
      tokens = jnp.tile(found.token[None], (layers, 1, 1))
      theta = transport.attention(tokens, found.patches, t)
    else:
      theta = jnp.full((layers, b, j), 1 / j)
    beta = jnp.tile(beta[None], (layers, 1, 1))
    each = transport.costs(similarity, beta, theta, t, c.cost)
    return transport.Costs(*(x.mean(axis=0) for x in each))

  def _moved(self, state: State) -> State:
    """The state with its average moved."""
    decay = self.config.optimizer.average
    average = memory.ema(state.memory["average"], state.params, decay)
    return state.replace(memory={**state.memory, "average": average})

  # The sweeps around it.

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights; the bias is the logit of the labels' frequency."""
    c, b = self.config, self.config.backbone
    names = self.network.class_names
    taken = adopt.fitting(state, c.init_from, names) if c.init_from else {}
    params = dict(state.params)
    if (b.pretrained or b.weights) and not taken:
      state = start.pretrained(state, self.network.backbone, b.name, b.weights)
      params = dict(state.params)
      params |= self._joint(params)
    encoder = self.network.labels.encoder
    if encoder and self.network.labels.trainable and not taken:
      params["text"] = encoder.load(c.text.weights)
    frequency = float(np.mean(_tags(data)[_tags(data) >= 0]))
    if "params.classifier.bias" not in taken:
      share = np.clip(frequency, 1e-4, 1 - 1e-4)
      bias = np.float32(np.log(share / (1 - share)))
      params["classifier"] = {**params["classifier"], "bias": bias}
    state = state.replace(params=params)
    if c.optimizer.average:
      state = state.replace(memory={**state.memory, "average": params})
    return state, {"frequency": frequency}

  def _joint(self, params: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """What joins the towers of CLIP: projections, and the cosines' factor.

    Empty unless both towers are CLIP's.
    """
    c, encoder = self.config, self.network.labels.encoder
    both = encoder is not None and encoder.name.startswith("clip")
    if not (both and c.backbone.name.startswith("clip")):
      return {}
    weights = c.backbone.weights
    try:
      found = clip.joint(reading.read(reading.fetch(weights)))
    except UserError as error:
      raise UserError(f"{weights}: {error}") from error
    kernel = params["maps"]["map_last"]["kernel"]
    if found.visual.shape != kernel.shape:
      raise UserError(
        f"{weights} joins the towers in {found.visual.shape[1]} channels: set"
        f" --config.channels={found.visual.shape[1]}"
      )
    maps = {
      name: {"kernel": found.visual}
      for name in ("map_last", "map_class")
      if name in params["maps"]
    }
    scale = {**params["classifier"], "scale": np.float32(found.scale)}
    return {"maps": {**params["maps"], **maps}, "classifier": scale}

  def average(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """The averaged parameters take the place of the last ones."""
    del data
    return state.replace(params=state.memory["average"]), {}

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities, and the best patch of each label."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """mAP and the metrics beside it; pointing, if there are boxes."""
    return judging.measure(
      self.network, self.predict, state, self.stream(split)
    )

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The metrics, those of each label, and how they came about."""
    found = judging.rows(self.predict, state, self.stream("test"))
    return {
      "headline": "map",
      **stages[-1]["metrics"],
      "by_stage": {s["id"]: judging.chosen(s["metrics"]) for s in stages},
      "labels": judging.of_labels(self.network.class_names, found),
    }


def _are_matrices(params: PyTree) -> PyTree:
  """True for what decays: no norm, bias, scale or temperature."""
  return jax.tree.map(lambda x: x.ndim > 1, params)


def _tags(data: stream_lib.Stream) -> np.ndarray:
  """Of each image and label: 1, 0 or -1."""
  source: Any
  source, rows = origin(data.source)
  if hasattr(source, "tags"):
    return np.asarray(source.tags)[rows]
  return np.stack([data.source[i]["labels"] for i in range(len(data.source))])
