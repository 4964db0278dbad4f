"""The losses of FoPro, for each stage of training.

Symbols of the authors' code: x_w and x_s are the weak and the strong view, E
and E' the encoder and its slow copy, z = g(E(x_w)), z+ = g(E'(x_s)), c the
prototypes, u the vote, w the vote for the given label. Averages over some of
the images are sums of weights: an empty set gives 0.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np
import optax

from protojax import parallel
from protojax.engine import memory
from protojax.engine.terms import Aux, Now, Term
from protojax.methods.fopro import cleaning, moving, relation
from protojax.methods.fopro.cleaning import Cleaned
from protojax.methods.fopro.network import Network, linear
from protojax.types import Array, ArrayLike, Batch, PyTree, State

_EXACT = jax.lax.Precision.HIGHEST
_entropy = optax.softmax_cross_entropy_with_integer_labels


class Weights(NamedTuple):
  """Weights of the terms; that of the classifier is 1."""

  instance: float
  prototype: float
  reconstruct: float
  auxiliary: float
  relation: float


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the config says of the losses.

  Attributes:
    temperature: tau.
    margin: m, of few-shot images.
    alpha: share of the classifier in the vote.
    density: whether each class has its own temperature.
    momentum: of the prototypes.
    follow: momentum of the slow encoder.
    threshold: gamma, of vote and relation.
    distance: of `cleaning.apart`, up to which an image is trusted at first.
    corrected: weigh a changed label by its own vote, not by that of the given.
    replaced: train the relation, in the last stage, on replaced labels alone.
    weights: of the terms.
  """

  temperature: float
  margin: float
  alpha: float
  density: bool
  momentum: float
  follow: float
  threshold: float
  distance: float
  corrected: bool
  replaced: bool
  weights: Weights


@dataclasses.dataclass(frozen=True)
class Phase:
  """What is done in a stage.

  Attributes:
    mode: of cleaning; see `cleaning`.
    contrast: whether there are prototypes.
    relation: whether the relation module trains.
    alone: it trains alone; everything else but the prototypes stays.
    steps_per_epoch: of the stage.
  """

  mode: int
  contrast: bool
  relation: bool
  alone: bool
  steps_per_epoch: int


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """The loss of a stage; see `engine.terms.Loss`.

  Attributes:
    network: of the method.
    settings: of the config.
    phase: of the stage.
    class_weights: of each class, for cross entropies.
  """

  network: Network
  settings: Settings
  phase: Phase
  class_weights: Float[np.ndarray, " k"]

  def __call__(
    self, params: PyTree, state: State, batch: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """The terms of a batch of views, and what is remembered."""
    if self.phase.alone:
      return self._alone(params, state, batch["weak"], now)
    weak, strong = batch["weak"], batch["strong"]
    statistics = state.statistics["backbone"]
    vectors, statistics = self.network.encoded(
      params["backbone"], statistics, weak["image"], train=True
    )
    z = self.network.projected(params, vectors)
    logits = linear(params["classifier"], vectors)
    cosines = _cosines(z, state)
    found, votes = self._cleaned(params, state, weak, logits, z, cosines)
    trusted = self._trusted(state, weak, found, cosines)
    other, statistics = self.network.encoded(
      params["backbone"], statistics, strong["image"], train=True
    )
    slow, key = self._slow(params, state, strong["image"])
    terms = {
      "classify": self._classified(logits, votes, found),
      "auxiliary": self._auxiliary(
        params, (z, self.network.projected(params, other)), found, trusted
      ),
      "reconstruct": self._reconstructed(params, vectors, z),
    }
    if self.phase.contrast:
      terms["prototype"] = self._prototypical(state, cosines, weak, found)
      terms["instance"] = self._instance(z, key, state.memory["queue"])
    remembered: dict[str, Any] = {
      **state.memory,
      "queue": memory.enqueue(state.memory["queue"], key),
    }
    if self.phase.mode:
      remembered["prototypes"], slow = self._moved(
        params, state, slow, weak["image"], found, now
      )
    if self.phase.relation:
      chosen = found.replaced if self.settings.replaced else found.kept
      vectors = remembered["prototypes"].vectors
      terms["relation"] = self._related(params, vectors, z, found.label, chosen)
    remembered["encoder"] = {**state.memory["encoder"], "statistics": slow}
    right = jnp.sum(jnp.argmax(logits, axis=1) == weak["label"])
    kept = jnp.sum(found.kept, dtype=jnp.float32)
    return terms, Aux(
      {**state.statistics, "backbone": statistics},
      remembered,
      {"as_given": Term(right, len(logits)), "kept": Term(kept, len(logits))},
    )

  # Who is believed.

  def _temperatures(self, state: State) -> Float[Array, " k"]:
    found = jnp.asarray(state.memory["prototypes"].temperatures)
    if self.settings.density:
      return found
    return jnp.full_like(found, self.settings.temperature)

  def _cleaned(
    self,
    params: PyTree,
    state: State,
    weak: Batch,
    logits: Array,
    z: Array,
    cosines: Array,
  ) -> tuple[Cleaned, Array]:
    """What becomes of the images, and the vote u."""
    near = None
    if self.phase.contrast:
      near = cosines / self._temperatures(state)[None]
    given = weak["label"], weak["trusted"]
    votes = cleaning.vote(logits, near, *given, self.settings.alpha)
    relations, mode = None, self.phase.mode
    if mode in (cleaning.RELATION, cleaning.BOTH):
      vectors = state.memory["prototypes"].vectors
      relations = jax.nn.sigmoid(
        relation.scores(params["relation"], z, vectors)
      )
      relations = jax.lax.stop_gradient(relations)
    return cleaning.cleaned(
      mode, votes, relations, *given, self.settings.threshold
    ), votes

  def _trusted(
    self, state: State, weak: Batch, found: Cleaned, cosines: Array
  ) -> Array:
    """Set A: the images that the auxiliary classifier learns from."""
    if self.phase.mode:
      return found.kept
    if not self.phase.contrast:
      return weak["trusted"] | (found.confidence > self.settings.threshold)
    apart = cleaning.apart(
      state.memory["prototypes"].vectors, cosines, weak["label"]
    )
    return weak["trusted"] | (apart <= self.settings.distance)

  # The terms.

  def _classified(self, logits: Array, votes: Array, found: Cleaned) -> Term:
    """L_cls: the hard label by w, the soft one by 1 - w."""
    hard = _entropy(logits, found.label)
    each = hard
    if self.phase.contrast:
      soft = -jnp.sum(votes * jax.nn.log_softmax(logits), axis=1)
      w = found.confidence
      if self.settings.corrected:
        w = cleaning.of_label(votes, found.label)
      each = w * hard + (1 - w) * soft
    return _mean(each * self._class_weight(found.label), found.kept)

  def _prototypical(
    self, state: State, cosines: Array, weak: Batch, found: Cleaned
  ) -> Term:
    """L_pro: softmax over prototypes, few-shot images with a margin."""
    margin = jnp.where(weak["trusted"], self.settings.margin, 0.0)
    less = _at(found.label, cosines.shape[1]) * margin[:, None]
    near = (cosines - less) / self._temperatures(state)[None]
    weight = self.settings.weights.prototype
    return _mean(_entropy(near, found.label), found.kept, weight)

  def _instance(self, z: Array, key: Array, queue: Any) -> Term:
    """L_inst: the other view of the image among the queue."""
    own = jnp.sum(z * key, axis=1, keepdims=True)
    rows = jax.lax.stop_gradient(jnp.asarray(queue.rows))
    others = jnp.matmul(z, rows.T, precision=_EXACT)
    both = jnp.concatenate([own, others], axis=1) / self.settings.temperature
    first = jnp.zeros(len(z), jnp.int32)
    each, every = _entropy(both, first), jnp.ones(len(z), bool)
    return _mean(each, every, self.settings.weights.instance)

  def _auxiliary(
    self,
    params: PyTree,
    views: tuple[Array, Array],
    found: Cleaned,
    trusted: Array,
  ) -> Term:
    """L_low: a classifier of projections, with a margin, on both views."""
    s = self.settings
    less = s.margin * _at(found.label, len(self.class_weights))
    each = sum(
      _entropy(
        (linear(params["auxiliary"], z) - less) / s.temperature, found.label
      )
      for z in views
    )
    weighted = each * self._class_weight(found.label)
    return _mean(weighted / len(views), trusted, s.weights.auxiliary)

  def _reconstructed(self, params: PyTree, vectors: Array, z: Array) -> Term:
    """L_rec: trains projector and reconstructor, later the second alone."""
    target = jax.lax.stop_gradient(vectors)
    if self.phase.contrast:
      z = jax.lax.stop_gradient(z)
    else:
      z = self.network.projected(params, target)
    made = self.network.reconstructed(params, z)
    each = jnp.mean((made - target) ** 2, axis=1)
    every = jnp.ones(len(each), bool)
    return _mean(each, every, self.settings.weights.reconstruct)

  def _related(
    self, params: PyTree, vectors: Array, z: Array, labels: Array, chosen: Array
  ) -> Term:
    """L_rel: the relation of an image and its class is the largest.

    As in the authors' code, the prototypes are those after the batch.
    """
    z = jax.lax.stop_gradient(z)
    found = relation.scores(params["relation"], z, vectors)
    weight = self.settings.weights.relation
    return _mean(_entropy(found, labels), chosen, weight)

  def _class_weight(self, labels: Int[Array, " b"]) -> Float[Array, " b"]:
    return jnp.asarray(self.class_weights)[labels]

  # What is remembered.

  def _slow(
    self, params: PyTree, state: State, images: Array
  ) -> tuple[PyTree, Array]:
    """Statistics of the slow encoder after images; z', without gradient.

    The projector is the trained one: it has no slow copy.
    """
    encoder = state.memory["encoder"]
    vectors, statistics = self.network.encoded(
      encoder["params"], encoder["statistics"], images, train=True
    )
    z = self.network.projected(params, vectors)
    return statistics, jax.lax.stop_gradient(z)

  def _moved(
    self,
    params: PyTree,
    state: State,
    statistics: PyTree,
    images: Array,
    found: Cleaned,
    now: Now,
  ) -> tuple[moving.Prototypes, PyTree]:
    """Prototypes after the clean images of all devices; the statistics."""
    encoder = {**state.memory["encoder"], "statistics": statistics}
    given = state.replace(memory={**state.memory, "encoder": encoder})
    statistics, slow = self._slow(params, given, images)
    rows, labels, kept = parallel.gather((slow, found.label, found.kept))
    made = moving.moved(
      state.memory["prototypes"], rows, labels, kept, self.settings.momentum
    )
    made = moving.cooled_at_end(made, now.step, self.phase.steps_per_epoch)
    return made, statistics

  def _alone(
    self, params: PyTree, state: State, weak: Batch, now: Now
  ) -> tuple[dict[str, Term], Aux]:
    """The stage in which nothing but the relation module trains.

    BatchNorm goes by the batch, as before and after, and keeps its averages.
    """
    vectors, _ = self.network.encoded(
      params["backbone"],
      state.statistics["backbone"],
      weak["image"],
      train=True,
    )
    z = self.network.projected(params, vectors)
    logits, cosines = linear(params["classifier"], vectors), _cosines(z, state)
    found, _ = self._cleaned(params, state, weak, logits, z, cosines)
    prototypes, _ = self._moved(
      params,
      state,
      state.memory["encoder"]["statistics"],
      weak["image"],
      found,
      now,
    )
    term = self._related(params, prototypes.vectors, z, found.label, found.kept)
    kept = jnp.sum(found.kept, dtype=jnp.float32)
    return {"relation": term}, Aux(
      memory={**state.memory, "prototypes": prototypes},
      metrics={"kept": Term(kept, len(z))},
    )

  def follow(self, state: State) -> State:
    """The state after the slow encoder came a little nearer."""
    slow = state.memory["encoder"]
    params = memory.ema(
      slow["params"], state.params["backbone"], self.settings.follow
    )
    encoder = {**slow, "params": params}
    return state.replace(memory={**state.memory, "encoder": encoder})


def _mean(each: Array, chosen: Array, weight: float = 1.0) -> Term:
  """The mean over the chosen images; 0 if there are none."""
  one = chosen.astype(jnp.float32)
  return Term(jnp.sum(one * each), jnp.sum(one), weight)


def _cosines(z: Array, state: State) -> Float[Array, "b k"]:
  vectors = jnp.asarray(state.memory["prototypes"].vectors)
  return jnp.matmul(z, vectors.T, precision=_EXACT)


def _at(labels: ArrayLike, classes: int) -> Float[Array, "b k"]:
  return jax.nn.one_hot(labels, classes)
