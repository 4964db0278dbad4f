"""ProtoPNet: this looks like that (Chen et al., NeurIPS 2019, 1806.10574).

Every prototype is a patch of a training image. A logit is a weighted sum of the
prototypes' similarities to the nearest patches of the image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from protojax import backbones, parallel, ranges
from protojax.data import stream as stream_lib
from protojax.engine import pretrain, summary
from protojax.engine.cached import Cached
from protojax.engine.initial_state import start_from_data
from protojax.engine.optimizer import adam, grouped, step_decay
from protojax.engine.stage import Fit, Pass, epochs
from protojax.engine.terms import Aux, Now, Term, penalty
from protojax.explain import prototypical
from protojax.losses import prototype as losses
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, OF_NETWORK, Capabilities, splits
from protojax.methods.protopnet import last_layer, prune
from protojax.metrics import classification
from protojax.prototypes import distance, push, similarity
from protojax.prototypes.bank import bank_of, with_vectors
from protojax.prototypes.layer import AddOn, PrototypeLayer
from protojax.prototypes.network import Network
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError

# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "rounds": ranges.COUNT,
  "prototypes.per_class": ranges.COUNT,
  "prototypes.channels": ranges.CHANNELS,
  "prototypes.height": ranges.SIDE,
  "prototypes.width": ranges.SIDE,
  "pretrain.epochs": ranges.EPOCHS,
  "pretrain.backbone": ranges.RATE,
  "pretrain.weight_decay": ranges.DECAY,
  "loss.cluster": ranges.WEIGHT,
  "loss.separation": ranges.SIGNED_WEIGHT,
  "loss.l1": ranges.WEIGHT,
  "warm.epochs": ranges.EPOCHS,
  "warm.add_on": ranges.RATE,
  "warm.prototypes": ranges.RATE,
  "warm.weight_decay": ranges.DECAY,
  "joint.epochs": ranges.EPOCHS,
  "joint.backbone": ranges.RATE,
  "joint.add_on": ranges.RATE,
  "joint.prototypes": ranges.RATE,
  "joint.weight_decay": ranges.DECAY,
  "joint.drop_epochs": ranges.COUNT,
  "joint.drop": ranges.SHARE,
  "joint.patience": ranges.EPOCHS,
  "last.ridge": ranges.WEIGHT,
  "last.steps": ranges.COUNT,
  "last.epochs": ranges.EPOCHS,
  "last.head": ranges.RATE,
  "prune.nearest": ranges.whole(0, 10_000),
  "prune.threshold": ranges.whole(0, 10_000),
  "prune.epochs": ranges.EPOCHS,
}


class Method:
  """ProtoPNet as its config says; see `configs/protopnet_photos.py`."""

  capabilities = Capabilities(
    OF_NETWORK, explains=prototypical.Explainer, edits=last_layer.editable
  )
  assets = NO_ASSETS

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    ranges.require(config, _RANGES)
    prune.require_votes(config.prune.nearest, config.prune.threshold)
    self.splits = splits(config.data.validation_fraction, config.joint.patience)
    self.config = config
    self.dataset = image_data.dataset(config, class_names)

  @functools.cached_property
  def network(self) -> Network:
    """Backbone, add-on, prototypes and head."""
    c, image_size = self.config.prototypes, self.config.data.image_size
    layer = PrototypeLayer(
      c.per_class * len(self.dataset.class_names),
      c.channels,
      similarity.load(c.similarity),
      c.height,
      c.width,
      c.kernel,
    )
    add_on = AddOn(c.channels, c.add_on, c.activation)
    b = self.config.backbone
    backbone = backbones.load(b.name, b.dtype, b.remat)
    network = Network(
      backbone,
      add_on,
      layer,
      image_size,
      self.dataset.class_names,
      head_kind=c.head,
    )
    if min(network.grid) < 1:
      rows, columns = network.grid
      raise UserError(
        f"prototypes of {c.height} x {c.width} cells do not fit into the"
        f" {rows + c.height - 1} x {columns + c.width - 1} cells that"
        f" {self.config.backbone.name} makes of {image_size} pixels; lower"
        " --config.prototypes.height and width, or raise"
        " --config.data.image_size."
      )
    return network

  @functools.cached_property
  def _trained(self) -> Network:
    """The network for training, with a local or a sharded bank."""
    if self.config.prototypes.sharded:
      return self.network.over(parallel.device_count())
    return self.network

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order, without augmentation."""
    return self.dataset.ordered(split)

  @functools.cached_property
  def features(self) -> Cached:
    """Cached features of whole splits, until the backbone changes."""
    return Cached(self.network.backbone_rows, self.network.backbone_part)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start; prototype j belongs to class j // per_class."""
    classes = jnp.arange(len(self.dataset.class_names))
    class_of = jnp.repeat(classes, self.config.prototypes.per_class)
    c = self.config.backbone
    blank = bool(c.pretrained or c.weights)
    return self.network.init(key, class_of, blank_backbone=blank)

  def stages(self) -> Iterator[Fit | Pass]:
    """Pretrain; start; warm; joint, push, last layer in rounds; prune."""
    c = self.config
    copies, ordered = c.data.copies, self.stream("train")
    train = self.dataset.shuffled(copies=copies)
    augmented = self.dataset.shuffled(c.data.augment, copies)
    if c.pretrain.epochs:
      yield pretrain.pretraining(
        self.network.features,
        len(self.dataset.class_names),
        augmented,
        grouped(
          {"backbone": adam(c.pretrain.backbone, c.pretrain.weight_decay)}
        ),
        epochs(c.pretrain.epochs),
      )
    yield Pass("start", self.start, ordered)
    if c.warm.epochs:
      yield self._frozen(
        "warm",
        train,
        {
          "add_on": adam(c.warm.add_on, c.warm.weight_decay),
          "prototypes": c.warm.prototypes,
        },
        c.warm.epochs,
        self.features,
      )
    for _ in range(c.rounds):
      if c.joint.epochs:
        yield Fit(
          "joint",
          functools.partial(self.loss, train=c.joint.train_norm),
          augmented,
          grouped(self._joint_rates(augmented.steps_per_epoch)),
          epochs(c.joint.epochs),
          after_step=self._after_step,
          optimizer_id="joint",
          patience=c.joint.patience,
          accumulate=c.accumulate,
          sharding=self._trained.placement.sharding,
        )
      yield Pass("push", self.push, ordered)
      yield self._last_layer("last layer", c.last.epochs)
    if c.prune.nearest:
      yield Pass("prune", self.prune, ordered)
      yield self._last_layer("last layer after prune", c.prune.epochs)

  def _last_layer(self, name: str, length: int) -> Fit | Pass:
    """The head alone: solved, or trained for so many epochs of Adam."""
    c, last, data = self.config, self.config.last, self.stream("train")
    if last_layer.solved(last.solver):
      return last_layer.stage(
        name,
        self.network,
        data,
        self.features,
        c.loss.l1,
        last.ridge,
        last.steps,
      )
    scored = self.network.distance_rows
    if c.prototypes.sharded:
      # A device does not hold distances to all sharded prototypes.
      scored = self.network.embedded_rows
    rows = Cached(scored, after=self.features)
    train = self.dataset.shuffled(copies=c.data.copies)
    return self._frozen(name, train, {"head": last.head}, length, rows, name)

  def _frozen(
    self,
    name: str,
    data: stream_lib.Stream,
    groups: Mapping[str, Any],
    length: int,
    cached: Cached,
    optimizer_id: str | None = None,
  ) -> Fit:
    """A stage with a frozen backbone, whose BatchNorm uses running averages.

    With `batch_norm_parity` it uses the batch, as in the paper's code, which
    moves features away from the pushed prototypes.
    """
    parity = self.config.batch_norm_parity
    loss = functools.partial(self.loss, train=parity)
    return Fit(
      name,
      loss,
      data,
      grouped(groups),
      epochs(length),
      cached=None if parity else cached,
      after_step=self._after_step if "prototypes" in groups else None,
      optimizer_id=optimizer_id,
      accumulate=self.config.accumulate,
      sharding=self._trained.placement.sharding,
    )

  def _joint_rates(self, epoch: int) -> Mapping[str, Any]:
    c = self.config.joint

    def rate(start: float) -> Any:
      # One epoch early: the paper's code steps its scheduler first.
      return step_decay(start, c.drop_epochs * epoch, c.drop, offset=epoch)

    return {
      "backbone": adam(rate(c.backbone), c.weight_decay),
      "add_on": adam(rate(c.add_on), c.weight_decay),
      "prototypes": rate(c.prototypes),
    }

  def loss(
    self,
    params: PyTree,
    state: State,
    batch: Batch,
    now: Now,
    train: bool = False,
  ) -> tuple[dict[str, Term], Aux]:
    """CE + Clst + Sep + L1 (section 2.2)."""
    del now
    c, labels = self.config.loss, batch["label"]
    bank, placement = self._trained.bank(state), self._trained.placement
    found, statistics = self._trained.forward(params, state, batch, train)
    met = placement.meet(labels)
    near = found.distances, met, bank.class_of, bank.alive
    entropy = jnp.sum(losses.cross_entropy(found.logits, labels))
    cluster, _ = placement.smallest(*losses.cluster(*near))
    separation, _ = placement.smallest(*losses.separation(*near))
    norm = losses.l1_off_class(*self.network.off_class(params, state))
    count = len(labels)
    terms = {
      "cross_entropy": Term(entropy, count),
      "cluster": Term(jnp.sum(cluster), count, c.cluster),
      "separation": Term(jnp.sum(separation), count, c.separation),
      "l1": penalty(placement.total(norm), c.l1),
    }
    correct = jnp.sum(jnp.argmax(found.logits, axis=1) == labels)
    return terms, Aux(statistics, metrics={"accuracy": Term(correct, count)})

  @property
  def _after_step(self) -> Callable[[State], State] | None:
    """Prototypes that features are projected on stay at length one."""
    projects = self.network.similarity.name == "projection"
    return _at_length_one if projects else None

  def _kept(self, state: State) -> State:
    """The state on the host, as after a step."""
    return (
      parallel.to_host(self._after_step(state)) if self._after_step else state
    )

  # The sweeps between the stages of gradient descent.

  def start(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Pretrained weights, features of unit variance, patches as prototypes."""
    c = self.config
    state = start_from_data(
      self.network,
      state,
      data,
      self.features,
      backbone=c.backbone.name,
      pretrained=c.backbone.pretrained,
      weights=c.backbone.weights,
      per_class=c.prototypes.per_class,
      standardise=c.prototypes.standardise,
      patches=c.prototypes.patches,
      seed=c.seed,
      init_from=c.init_from,
    )
    return self._kept(state), {}

  def push(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Every prototype becomes its nearest training patch (eq. 3)."""
    prototypes, provenance, metrics = push.push(
      self.network.embedded_map,
      state,
      self.features.stream(state, data),
      self.network.similarity,
      placement=self._trained.placement,
    )
    state = self._kept(with_vectors(state, prototypes))
    if self._after_step:
      # Of the prototypes as they are now.
      digest = push.embedder_digest(
        state.params, state.statistics, state.assets
      )
      provenance = dataclasses.replace(provenance, embedder=digest)
    buffers = {**state.buffers, "provenance": provenance}
    return state.replace(buffers=buffers), metrics

  def prune(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Drops prototypes whose nearest images are of other classes."""
    c = self.config.prune
    near = prune.nearest_images(
      self.network.embedded_map,
      state,
      self.features.stream(state, data),
      self.network.similarity,
      c.nearest,
      self._trained.placement,
    )
    return prune.pruned(
      state, near, data.labels, self.dataset.class_names, c.threshold
    )

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities; each prototype's similarity, cell, and points.

    Points are those of the predicted class.
    """
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Accuracy and mean cross entropy."""
    batches = self.features.batches(state, self.stream(split))
    return classification.evaluate(self.network.answers, state, batches)

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Accuracy around the last push, and counts of prototypes."""
    return {
      "accuracy": summary.milestones(stages),
      **push.counts(state),
      "class_names": list(self.dataset.class_names),
    }


def _at_length_one(state: State) -> State:
  """The state with prototypes [p h1 w1 d] that have length one, all cells."""
  bank = bank_of(state).vectors
  # One program, also where no other holds it.
  flat = jax.jit(distance.direction)(bank.reshape(len(bank), -1))
  return with_vectors(state, flat.reshape(bank.shape))
