"""ScaleProtoSeg: classes of pixels from grouped prototypes of several scales.

Porta et al., WACV 2025 (2409.09497), after its authors' code, and ProtoSeg
(Sacha et al., WACV 2023, 2301.12276), from which it comes: one scale, pruning
and no groups. docs/scaleprotoseg.md says what is from where.
"""

from collections.abc import Iterator, Mapping, Sequence
import functools
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from protojax import backbones, parallel
from protojax.data import stream as stream_lib
from protojax.engine.cached import Cached
from protojax.engine.optimizer import adam, grouped
from protojax.engine.stage import Fit, Pass, steps
from protojax.engine.terms import Aux, Now, Term, penalty
from protojax.layers.sampling import nearest
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, Capabilities, splits
from protojax.methods.scaleprotoseg import (
  explanation,
  grouping,
  judging,
  losses,
  part_scores,
  pixel_push,
  prune,
  rates,
  settings,
)
from protojax.methods.scaleprotoseg.aspp import Aspp
from protojax.methods.scaleprotoseg.network import Network
from protojax.prototypes import start
from protojax.prototypes.bank import with_bank
from protojax.types import Array, ArrayLike, Batch, Metrics, PyTree, State


class Method:
  """ScaleProtoSeg as its config says; see `configs/scaleprotoseg_folder.py`."""

  assets = NO_ASSETS
  capabilities = Capabilities(
    segments=explanation.Explainer, explains=explanation.Explainer
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
    """Backbone, ASPP, prototypes and heads."""
    c, b = self.config, self.config.backbone
    backbone = backbones.load(b.name, b.dtype, b.remat)
    backbone.chosen(b.levels)
    return Network(
      backbone,
      tuple(b.levels),
      Aspp(tuple(c.aspp.rates), c.aspp.channels, c.aspp.summed),
      c.prototypes.per_class,
      c.groups.per_class if c.prototypes.per_class else 0,
      self.dataset.class_names,
      c.data.image_size,
      tuple(c.sizes),
    )

  @functools.cached_property
  def _features(self) -> Cached:
    """Cached features of whole splits, until the backbone changes."""
    return Cached(self.network.rows, self.network.embedder)

  @functools.cached_property
  def _maps(self) -> Cached:
    """Cached maps of whole splits, for stages that do not move the backbone."""
    return Cached(self._mapped, lambda s: (s.params["backbone"], s.statistics))

  def _mapped(self, state: State, batch: Batch) -> Mapping[str, Any]:
    maps, _ = self.network.maps(state.params, state.statistics, batch["image"])
    return {"maps": maps, "mask": batch["mask"]}

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order."""
    return self.dataset.ordered(split)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start."""
    b = self.config.backbone
    return self.network.init(key, bool(b.pretrained or b.weights))

  def stages(self) -> Iterator[Fit | Pass]:
    """Start; learn prototypes; push; the head; groups of prototypes."""
    c, train = self.config, self.stream("train")
    learned = ("aspp", "prototypes" if self.network.per_class else "head")
    yield Pass("start", self.start, train)
    if c.warm.steps:
      yield self._fit("warm", c.warm, self._rules(c.warm, learned))
    if c.joint.steps:
      rules = self._rules(c.joint, ("backbone", *learned), falls=True)
      yield self._fit("joint", c.joint, rules)
    if not self.network.per_class:
      return
    yield Pass("push", self.push, train)
    if c.prune.nearest:
      yield Pass("prune", self.prune, train)
    if c.last.steps:
      yield self._frozen("last", c.last, {"of_prototypes": c.last.head})
    if not self.network.groups:
      return
    yield Pass("group", self.group, train)
    if c.group.steps:
      yield self._frozen("sort", c.group, {"weights": c.group.weights})
    if c.refine.steps:
      power = c.optimizer.power
      falls = functools.partial(rates.falling, c.refine.steps, power=power)
      of = {
        "weights": falls(c.refine.weights),
        "of_groups": falls(c.refine.head),
      }
      yield self._frozen("refine", c.refine, of)
    yield Pass("threshold", self.threshold, train)

  # Learning prototypes.

  def _rules(
    self, c: Any, names: Sequence[str], falls: bool = False
  ) -> dict[str, optax.GradientTransformation]:
    """An optimiser for each group of parameters that a stage moves."""
    decay = self.config.optimizer.weight_decay
    power = self.config.optimizer.power

    def rule(name: str) -> optax.GradientTransformation:
      # A linear head has the rate of the prototypes, in whose place it stands.
      rate = c["prototypes" if name == "head" else name]
      rate = rates.falling(c.steps, rate, power) if falls else rate
      own = adam(rate, 0.0 if name == "prototypes" else decay)
      return rates.convolutions(own) if name == "backbone" else own

    return {name: rule(name) for name in names if c.get(name, 1)}

  def _fit(self, name: str, c: Any, rules: Mapping[str, Any]) -> Fit:
    return Fit(
      name,
      self.loss,
      self.dataset.shuffled(self.config.data.augment),
      grouped(rules),
      steps(c.steps),
      cached=None if self._moves(rules) else self._maps,
      accumulate=self.config.accumulate,
    )

  def _moves(self, rules: Mapping[str, Any]) -> bool:
    """Whether a stage moves the backbone, or the averages of its norms."""
    return "backbone" in rules or self.config.backbone.train_norm

  def loss(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy of pixels and diversity, means over the image's sizes."""
    del now
    statistics = state.statistics
    if "maps" in batch:
      maps = self.network.of_maps(params, batch["maps"])
    else:
      train = self.config.backbone.train_norm
      maps, statistics = self.network.features(
        params, statistics, batch["image"], train
      )
    terms: dict[str, Term] = {}
    for number, features in enumerate(maps):
      suffix = f"_{number}" if number else ""
      labels = nearest(jnp.asarray(batch["mask"]), *features.shape[1:3])
      for name, term in self._of_map(params, state, features, labels).items():
        weight = term.weight / len(maps)
        terms[name + suffix] = term._replace(weight=weight)
    return terms, Aux(statistics)

  def _of_map(
    self, params: PyTree, state: State, features: Array, labels: ArrayLike
  ) -> dict[str, Term]:
    c = self.config.loss
    if not self.network.per_class:
      logits = self.network.linear(params, features)
      return {"pixels": Term(*losses.cross_entropy(logits, labels))}
    seen = self.network.see(params, state, features)
    terms = {"pixels": Term(*losses.cross_entropy(seen.of_prototypes, labels))}
    if c.diversity:
      values = seen.distances if c.on == "distance" else seen.activations
      b, h, w = values.shape[:3]
      found = losses.diversity(
        values.reshape(b, h * w, *values.shape[3:]),
        labels.reshape(b, h * w),
        self.network.alive(state),
      )
      terms["diversity"] = Term(found.total, found.count, c.diversity)
    return terms

  # Behind frozen features: heads, and weights of groups.

  def _frozen(self, name: str, c: Any, moved: Mapping[str, Any]) -> Fit:
    """A stage that moves some arrays of the head, by name."""
    augment = self.config.data.augment
    rules = {key: adam(rate) for key, rate in moved.items()}
    head = rates.by_path(rules, lambda path: path[-1])
    return Fit(
      name,
      self.loss_of_head if name == "last" else self.loss_of_groups,
      self.dataset.shuffled(augment if self.config.data.augment_frozen else ""),
      grouped({"head": head}),
      steps(c.steps),
      cached=self._features,
      after_step=None if name == "last" else self._on_simplex,
      accumulate=self.config.accumulate,
    )

  def loss_of_head(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy, and L_1 of the weights from prototypes of others."""
    del now
    seen = self.network.see(params, state, batch["features"])
    found = losses.cross_entropy(seen.of_prototypes, batch["cells"])
    weights = jnp.moveaxis(params["head"]["of_prototypes"], 1, 2)
    weights = weights.reshape(*weights.shape[:2], -1)
    size = losses.foreign(weights)
    return {
      "pixels": Term(*found),
      "foreign": penalty(size, self.config.loss.foreign),
    }, Aux()

  def loss_of_groups(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """Cross entropy, L_1 of weights from groups of others, and the entropy."""
    del now
    c, head = self.config.loss, params["head"]
    seen = self.network.see(params, state, batch["features"])
    found = losses.cross_entropy(seen.of_groups, batch["cells"])
    alive = grouping.by_class(self.network.alive(state))
    return {
      "pixels": Term(*found),
      "foreign": penalty(losses.foreign(head["of_groups"]), c.group_foreign),
      "entropy": penalty(losses.entropy(head["weights"], alive), c.entropy),
    }, Aux()

  def _on_simplex(self, state: State) -> State:
    """The state with the weights of its groups projected."""
    alive = grouping.by_class(self.network.alive(state))
    weights = grouping.projected(state.params["head"]["weights"], alive)
    return _with_weights(state, weights)

  # The sweeps between the stages of gradient descent.

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights; prototypes of classes in no pixel are dead."""
    c, b = self.config, self.config.backbone
    if (b.pretrained or b.weights) and not c.init_from:
      state = start.pretrained(state, self.network.backbone, b.name, b.weights)
    names = self.network.class_names
    pixels = judging.pixels(len(names), data)
    absent = [n for n, count in zip(names, pixels, strict=True) if not count]
    if absent:
      parallel.say(
        f"note: no training image shows {', '.join(absent)}: prototypes of"
        f" {len(absent)} of {len(names)} classes take no part"
      )
    if self.network.per_class:
      bank = self.network.bank(state)
      alive = np.asarray(bank.alive) & (pixels > 0)[np.asarray(bank.class_of)]
      state = with_bank(state, bank.replace(alive=alive))
    return state, {"classes_without_pixels": len(absent)}

  def push(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Every prototype becomes its nearest pixel of its class."""
    rows = self._features.stream(state, data)
    return pixel_push.push(self.network, state, rows)

  def prune(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Prototypes whose nearest patches are of other classes are dead."""
    c = self.config.prune
    return prune.prune(self.network, state, data, c.nearest, c.least)

  def group(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Groups take the place of prototypes in the head."""
    del data
    buffers = {**state.buffers, "grouped": np.ones((), bool)}
    state = self._on_simplex(state.replace(buffers=buffers))
    return state, {"used": judging.of_prototypes(self.network, state)["used"]}

  def threshold(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Small weights become 0; the others stay, so that sums fall below 1.

    With groups.rescaled, the others grow until their sum is 1 again.
    """
    c, weights = (
      self.config.groups,
      judging.group_weights(self.network, state),
    )
    kept = np.where(weights < c.threshold, 0, weights)
    if c.rescaled:
      total = kept.sum(axis=-1, keepdims=True)
      kept = kept / np.where(total > 0, total, 1)
    after = _with_weights(state, kept.astype(np.float32))
    before, now = (
      judging.cells(self.network, s, self._features.stream(s, data))
      for s in (state, after)
    )
    return after, {
      "changed": float(np.mean(before != now)),
      "used": judging.of_prototypes(self.network, after)["used"],
    }

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """ "classes": that of each pixel."""
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """IoU, accuracy and the overlap of prototypes; see `judging.measure`."""
    return judging.measure(self.network, state, self.stream(split))

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """The metrics, those of each class, and how sparse the model is."""
    counts = judging.counts(self.network, state, self.stream("test"))
    found = {
      "headline": "miou",
      **stages[-1]["metrics"],
      "by_stage": {s["id"]: dict(s["metrics"]) for s in stages},
      "classes": judging.of_classes(self.network, counts),
    }
    if self.network.per_class:
      found |= judging.of_prototypes(self.network, state)
      test = self.stream("test")
      found |= judging.shared_tops(self.network, state, test)
      found |= part_scores.measure(self.network, state, test)
    return found


def _with_weights(state: State, weights: Any) -> State:
  head = {**state.params["head"], "weights": weights}
  return state.replace(params={**state.params, "head": head})
