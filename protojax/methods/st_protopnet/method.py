"""ST-ProtoPNet: support and trivial prototypes (Wang et al., ICCV 2023).

Two branches on one backbone (2301.04011). Trivial prototypes are trained to be
far from the boundaries between classes, as ProtoPNet's are; support prototypes
to be close to them, like the support vectors of an SVM. Logits are added.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict
import optax

from protojax import backbones, parallel, ranges
from protojax.backbones.upsampled import upsampled
from protojax.data import stream as stream_lib
from protojax.engine import pretrain, summary
from protojax.engine.cached import Cached
from protojax.engine.editable import Editable
from protojax.engine.head_solver import Solver
from protojax.engine.initial_state import start_from_data
from protojax.engine.optimizer import (
  adam,
  drops_at,
  grouped,
  in_turn,
  step_decay,
)
from protojax.engine.stage import Fit, Pass, epochs
from protojax.explain import prototypical
from protojax.methods import image_data
from protojax.methods.base import NO_ASSETS, OF_NETWORK, Capabilities, splits
from protojax.methods.st_protopnet import boundary, branches, geometry
from protojax.methods.st_protopnet.branches import BranchedAddOn, BranchedLayer
from protojax.methods.st_protopnet.losses import Branch, BranchLosses
from protojax.metrics import classification
from protojax.prototypes import push
from protojax.prototypes.bank import bank_of, with_vectors
from protojax.prototypes.layer import AddOn
from protojax.prototypes.network import Network
from protojax.types import Array, Batch, Metrics, State, UserError

# Name of a branch -> its term on prototypes of different classes.
_BETWEEN = {
  "trivial": ("discrimination", geometry.discrimination),
  "support": ("closeness", geometry.closeness),
}

# Of a head that is solved for after an edit: as ProtoPNet's.
_RIDGE, _STEPS = 1e-4, 500

# Of the config's numbers; see also `ranges.EVERYWHERE`.
_RANGES = {
  "rounds": ranges.COUNT,
  "prototypes.per_class": ranges.COUNT,
  "prototypes.channels": ranges.CHANNELS,
  "pretrain.epochs": ranges.EPOCHS,
  "pretrain.backbone": ranges.RATE,
  "pretrain.weight_decay": ranges.DECAY,
  "trivial.cluster": ranges.WEIGHT,
  "trivial.separation": ranges.SIGNED_WEIGHT,
  "trivial.orthogonality": ranges.WEIGHT,
  "trivial.discrimination": ranges.WEIGHT,
  "trivial.l1": ranges.WEIGHT,
  "support.cluster": ranges.WEIGHT,
  "support.separation": ranges.SIGNED_WEIGHT,
  "support.orthogonality": ranges.WEIGHT,
  "support.closeness": ranges.WEIGHT,
  "support.l1": ranges.WEIGHT,
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
  "last.epochs": ranges.EPOCHS,
  "last.head": ranges.RATE,
}


class Method:
  """ST-ProtoPNet as its config says; see `configs/st_protopnet_folder.py`."""

  capabilities = Capabilities(
    classifies=OF_NETWORK,
    explains=prototypical.Explainer,
    edits=lambda method: method.editable,
  )
  assets = NO_ASSETS

  def __init__(
    self, config: ConfigDict, class_names: tuple[str, ...] | None = None
  ) -> None:
    ranges.require(config, _RANGES)
    _require_ascending(config.joint.drops)
    self.splits = splits(config.data.validation_fraction, config.joint.patience)
    self.config = config
    self.kinds = _kinds(config.branches)
    self.dataset = image_data.dataset(config, class_names)

  @functools.cached_property
  def network(self) -> Network:
    """Backbone, and add-ons, prototypes and heads of all branches."""
    c, b, count = self.config.prototypes, self.config.backbone, len(self.kinds)
    similarity = branches.load(c.similarity)
    return Network(
      upsampled(backbones.load(b.name, b.dtype, b.remat), b.upsample),
      BranchedAddOn(
        AddOn(c.channels, c.add_on, c.activation, c.hidden),
        count,
        unit=similarity.name != "projection",
      ),
      BranchedLayer(
        count * c.per_class * len(self.dataset.class_names),
        count * c.channels,
        count,
        similarity,
        c.raw,
      ),
      self.config.data.image_size,
      self.dataset.class_names,
      boundary.Notes(self.kinds),
      branches=count,
    )

  @functools.cached_property
  def branch_losses(self) -> BranchLosses:
    """The losses of the branches, and whose turn it is."""
    return BranchLosses(
      self.network,
      tuple(
        Branch(kind, self.config[kind].to_dict(), *_BETWEEN[kind])
        for kind in self.kinds
      ),
      self.config.alternate,
      self.config.prototypes.raw,
      self.config.clip_cosines,
    )

  def stream(self, split: str) -> stream_lib.Stream:
    """The images of a split in source order, without augmentation."""
    return self.dataset.ordered(split)

  @functools.cached_property
  def _features(self) -> Cached:
    """Cached features of whole splits, until the backbone changes."""
    return Cached(self.network.backbone_rows, self.network.backbone_part)

  @property
  def editable(self) -> Editable:
    """Its prototypes with the scores and the head that edits need.

    The head of each branch is the best by the branch's own logits, as its last
    layer is trained; the ridge makes it unique.
    """
    solver = Solver(
      len(self.dataset.class_names),
      tuple(self.config[kind].l1 for kind in self.kinds),
      ridge=_RIDGE,
      steps=_STEPS,
    )
    return Editable(self.network, solver, self._features)

  # The algorithm.

  def init(self, key: Array) -> State:
    """A random start; prototypes by branch, in a branch by class."""
    classes = jnp.arange(len(self.dataset.class_names))
    of_branch = jnp.repeat(classes, self.config.prototypes.per_class)
    class_of = jnp.tile(of_branch, len(self.kinds))
    c = self.config.backbone
    blank = bool(c.pretrained or c.weights)
    state = self.network.init(key, class_of, blank_backbone=blank)
    # Updates so far, which say whose turn it is.
    step = jnp.zeros((), jnp.int32)
    return state.replace(buffers={**state.buffers, "step": step})

  def stages(self) -> Iterator[Fit | Pass]:
    """Pretrain; start; warm; joint, push and last layer in rounds."""
    c = self.config
    copies, ordered = c.data.copies, self.stream("train")
    augmented = self.dataset.shuffled(c.data.augment, copies)
    # Of stages with a frozen backbone.
    train = augmented
    if not c.data.augment_frozen:
      train = self.dataset.shuffled(copies=copies)
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
    # BatchNorm of a frozen backbone: that of the batch, or running averages.
    parity = c.batch_norm_parity
    yield Pass("start", self.start, ordered)
    if c.warm.epochs:
      yield Fit(
        "warm",
        functools.partial(self.branch_losses.loss, train=parity),
        train,
        grouped(
          {
            "add_on": self._in_turn(adam(c.warm.add_on, c.warm.weight_decay)),
            "prototypes": self._in_turn(adam(c.warm.prototypes)),
          }
        ),
        epochs(c.warm.epochs),
        cached=None if parity else self._features,
        after_step=self.branch_losses.unit_length,
      )
    scored = Cached(self.network.distance_rows, after=self._features)
    for _ in range(c.rounds):
      if c.joint.epochs:
        yield Fit(
          "joint",
          functools.partial(self.branch_losses.loss, train=c.joint.train_norm),
          augmented,
          grouped(self._joint_rates(augmented.steps_per_epoch)),
          epochs(c.joint.epochs),
          after_step=self.branch_losses.unit_length,
          optimizer_id="joint",
          patience=c.joint.patience,
        )
      yield Pass("push", self.push, ordered)
      yield Fit(
        "last layer",
        functools.partial(self.branch_losses.last_loss, train=parity),
        train,
        grouped({"head": self._in_turn(adam(c.last.head), axis=1)}),
        epochs(c.last.epochs),
        cached=None if parity else scored,
        after_step=self.branch_losses.next_turn,
        optimizer_id="last layer",
      )

  def _in_turn(
    self, inner: optax.GradientTransformation, axis: int = 0
  ) -> optax.GradientTransformation:
    return in_turn(inner, len(self.kinds), axis)

  def _joint_rates(self, epoch: int) -> Mapping[str, Any]:
    c = self.config.joint
    # A branch's schedule counts its own updates.
    turns = len(self.kinds) if self.config.alternate else 1

    def rate(start: float, turns: int) -> Any:
      if c.drops:
        return drops_at(start, [n * epoch // turns for n in c.drops], c.drop)
      own = max(1, epoch // turns)
      # One epoch early: the paper's code steps its scheduler first.
      return step_decay(start, c.drop_epochs * own, c.drop, offset=own)

    return {
      "backbone": adam(rate(c.backbone, 1), c.weight_decay),
      "add_on": self._in_turn(adam(rate(c.add_on, turns), c.weight_decay)),
      "prototypes": self._in_turn(adam(rate(c.prototypes, turns))),
    }

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
      self._features,
      backbone=c.backbone.name,
      pretrained=c.backbone.pretrained,
      weights=c.backbone.weights,
      per_class=len(self.kinds) * c.prototypes.per_class,
      standardise=c.prototypes.standardise,
      patches=c.prototypes.patches,
      seed=c.seed,
      init_from=c.init_from,
    )
    if c.prototypes.raw and not c.prototypes.patches:
      return state, {}
    return self._own(state), {}

  def push(
    self, state: State, data: stream_lib.Stream
  ) -> tuple[State, Metrics]:
    """Every prototype becomes the direction of its nearest training patch."""
    found, provenance, metrics = push.push(
      self.network.embedded_map,
      state,
      self._features.stream(state, data),
      self.network.similarity,
    )
    pushed = self._own(with_vectors(state, found))
    # Of the prototypes as they are now, zero in other branches' channels.
    digest = push.embedder_digest(
      pushed.params, pushed.statistics, pushed.assets
    )
    provenance = dataclasses.replace(provenance, embedder=digest)
    buffers = {**pushed.buffers, "provenance": provenance}
    return pushed.replace(buffers=buffers), metrics

  def _own(self, state: State) -> State:
    """Prototypes in their branch's channels alone, at length one."""
    bank = bank_of(state).vectors
    own = branches.diagonal(branches.cut(bank, len(self.kinds)))
    return with_vectors(state, parallel.to_host(own))

  # For the commands.

  def predict(self, state: State, batch: Batch) -> Mapping[str, Array]:
    """Logits, probabilities; each prototype's similarity, cell, and points.

    Points are those of the predicted class.
    """
    return self.network.answers(state, batch)

  def evaluate(self, state: State, split: str) -> Metrics:
    """Accuracy and mean cross entropy."""
    batches = self._features.batches(state, self.stream(split))
    return classification.evaluate(self.network.answers, state, batches)

  def summary(
    self, state: State, stages: Sequence[Mapping[str, Any]]
  ) -> Mapping[str, Any]:
    """Accuracy around the last push, counts and geometry of prototypes.

    "geometry" has for each branch the least and the greatest similarity of the
    prototypes of two classes, as means over pairs of classes, and the means of
    `boundary.Boundary` over prototypes.
    """
    return {
      "accuracy": summary.milestones(stages),
      **push.counts(state),
      "geometry": self.geometry(state),
      "class_names": list(self.dataset.class_names),
    }

  def geometry(self, state: State) -> dict[str, dict[str, float]]:
    """Figures of the prototypes of each branch; see `summary`."""
    place = boundary.of_state(self.network, state, len(self.kinds))
    bank = branches.cut(bank_of(state).vectors, len(self.kinds))
    found = {}
    for b, kind in enumerate(self.kinds):
      by_class = bank[b].reshape(
        len(self.dataset.class_names), -1, bank.shape[-1]
      )
      own = self.branch_losses.alive(state, b)
      found[kind] = {
        "least_similarity": float(-geometry.closeness(by_class)),
        "greatest_similarity": float(geometry.discrimination(by_class)),
        "margin": float(jnp.mean(place.margin[own])),
        "boundary_distance": float(jnp.mean(place.distance[own])),
      }
    return found


def _require_ascending(drops: Sequence[Any]) -> None:
  whole = [n for n in drops if type(n) is int and n > 0]
  if list(drops) != sorted(set(whole)):
    raise UserError(
      f"--config.joint.drops is {tuple(drops)}; it must hold joint epochs in"
      " ascending order, the first from 1 on, such as 2,4,6,8; () drops every"
      " --config.joint.drop_epochs."
    )


def _kinds(names: str) -> tuple[str, ...]:
  kinds = tuple(names.split(","))
  if not set(kinds) <= set(_BETWEEN) or len(set(kinds)) < len(kinds):
    raise UserError(
      f"--config.branches={names} is not a list of branches; it must be one"
      f" or more of {', '.join(_BETWEEN)}, each once, such as"
      f" {','.join(_BETWEEN)}."
    )
  return kinds
