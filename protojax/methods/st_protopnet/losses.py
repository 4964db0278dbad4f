"""Losses of branches that train in turn (ST-ProtoPNet, section 3).

Every step computes all branches, which is cheap compared with the backbone, but
uses the loss of one. So the backbone learns from each in turn, and the branches
that rest get no gradient (`optimizer.in_turn`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool

from protojax.engine.terms import Aux, Now, Term, penalty
from protojax.losses import prototype as losses
from protojax.methods.st_protopnet import geometry
from protojax.methods.st_protopnet.branches import (
  blocks,
  cut,
  diagonal,
  directions,
  load,
)
from protojax.prototypes import head
from protojax.prototypes.bank import bank_of, vectors, with_vectors
from protojax.prototypes.network import Activations, Network
from protojax.types import Array, Batch, PyTree, State


class Branch(NamedTuple):
  """The loss of a branch.

  Attributes:
    name: of the branch, for metrics.
    weights: of its terms: "cluster", "separation", "orthogonality", "l1" and
      `term`.
    term: name of `between`.
    between: prototypes by class [k m d] -> the term on prototypes of different
      classes.
  """

  name: str
  weights: Mapping[str, float]
  term: str
  between: Callable[[Array], Array]


class BranchLosses:
  """The losses of a network with branches, and whose turn it is.

  The buffer "step" counts the updates over all stages. The branch `step` modulo
  the number of branches has its turn.
  """

  def __init__(
    self,
    network: Network,
    branches: tuple[Branch, ...],
    alternate: bool = True,
    raw: bool = False,
    clip: bool = False,
  ) -> None:
    """The losses of some branches.

    Args:
      network: with the branches.
      branches: in order.
      alternate: in turns; otherwise by the mean over all branches.
      raw: Orth, Discr and Close are of the prototypes as long as they are, as
        in the paper's code. Their gradients then change the length, too, which
        the step takes back (`unit_length`), but Adam's moments keep. Otherwise
        they are of directions.
      clip: Clst and Sep take cosines below 0 as 0, as in the paper's code,
        which multiplies them by 0 and 1 in place of a mask. An image that is
        that far from all prototypes then pulls none of them.
    """
    self._network, self._branches = network, branches
    self._alternate, self._raw, self._clip = alternate, raw, clip

  def alive(self, state: State, number: int) -> Bool[Array, " p"]:
    """The living prototypes of a branch."""
    alive = jnp.asarray(self._network.bank(state).alive)
    branch = jnp.arange(len(alive)) // (len(alive) // len(self._branches))
    return alive & (branch == number)

  def shares(self, state: State) -> list[Any]:
    """The weight of each branch's loss in this step."""
    count = len(self._branches)
    if not self._alternate:
      return [1.0 / count] * count
    number = jnp.asarray(state.buffers["step"]) % count
    return [(number == b).astype(jnp.float32) for b in range(count)]

  def loss(
    self,
    params: PyTree,
    state: State,
    batch: Batch,
    now: Now,
    train: bool = False,
  ) -> tuple[dict[str, Term], Aux]:
    """CE + Clst + Sep + Orth + (Discr or Close) + L1 of each branch.

    Clst and Sep are of cosines, for any similarity.
    """
    del now
    found, cosine, statistics = self._forward(params, state, batch, train)
    if self._clip:
      # These are distances, 1 - cos.
      cosine = jnp.minimum(cosine, 1.0)
    labels, class_of = batch["label"], self._network.bank(state).class_of
    count = len(labels)
    terms, aux = self._heads(params, state, found, labels)
    taken = blocks if self._raw else cut
    bank = taken(vectors(params), len(self._branches))
    classes = len(self._network.class_names)
    for b, (branch, share) in enumerate(self._shared(state)):
      classed = labels, class_of, self.alive(state, b)
      cluster, _ = losses.cluster(cosine, *classed)
      separation, _ = losses.separation(cosine, *classed)
      by_class = bank[b].reshape(classes, -1, bank.shape[-1])
      own = {
        "cluster": Term(jnp.sum(cluster), count),
        "separation": Term(jnp.sum(separation), count),
        "orthogonality": penalty(geometry.orthogonality(by_class)),
        branch.term: penalty(branch.between(by_class)),
      }
      terms |= {
        f"{branch.name}_{name}": term._replace(
          weight=share * branch.weights[name]
        )
        for name, term in own.items()
      }
    return terms, aux._replace(statistics=statistics)

  def last_loss(
    self,
    params: PyTree,
    state: State,
    batch: Batch,
    now: Now,
    train: bool = False,
  ) -> tuple[dict[str, Term], Aux]:
    """CE + L1: the terms that depend on the head."""
    del now
    found, statistics = self._network.forward(params, state, batch, train)
    terms, aux = self._heads(params, state, found, batch["label"])
    return terms, aux._replace(statistics=statistics)

  def unit_length(self, state: State) -> State:
    """After a step: moved prototypes at length one; the next branch's turn.

    With `raw` all are brought there, as in the paper's code: those that have
    not moved yet may have another length.
    """
    bank, count = bank_of(state).vectors, len(self._branches)
    unit = diagonal(cut(bank, count))
    if self._raw:
      return self.next_turn(with_vectors(state, unit))
    # Prototypes of the other branches do not change by a bit.
    moved = jnp.repeat(
      jnp.stack([jnp.asarray(x) > 0 for x in self.shares(state)]),
      len(bank) // count,
    )
    bank = jnp.where(moved[:, None, None, None], unit, bank)
    return self.next_turn(with_vectors(state, bank))

  def next_turn(self, state: State) -> State:
    """After a step: the next branch's turn."""
    step = state.buffers["step"] + 1
    return state.replace(buffers={**state.buffers, "step": step})

  def _shared(self, state: State) -> list[tuple[Branch, Any]]:
    return list(zip(self._branches, self.shares(state), strict=True))

  def _heads(
    self, params: PyTree, state: State, found: Activations, labels: Array
  ) -> tuple[dict[str, Term], Aux]:
    """CE + L1, each branch by its own logits; accuracy by their sum."""
    weight, class_of = params["head"]["weight"], bank_of(state).class_of
    count, terms = len(labels), {}
    for b, (branch, share) in enumerate(self._shared(state)):
      alive = self.alive(state, b)
      logits = head.logits(found.scores, weight, alive)
      entropy = jnp.sum(losses.cross_entropy(logits, labels))
      l1 = losses.l1_off_class(*head.Dense(weight).off_class(class_of, alive))
      terms[f"{branch.name}_cross_entropy"] = Term(entropy, count, share)
      terms[f"{branch.name}_l1"] = penalty(l1, share * branch.weights["l1"])
    correct = jnp.sum(jnp.argmax(found.logits, axis=1) == labels)
    return terms, Aux(metrics={"accuracy": Term(correct, count)})

  def _forward(
    self, params: PyTree, state: State, batch: Batch, train: bool
  ) -> tuple[Activations, Array, PyTree]:
    """The activations, cosine distances [b p], and the statistics."""
    network, statistics = self._network, state.statistics
    features = batch.get("features")
    if features is None:
      features, statistics = network.features(
        params, statistics, batch["image"], train
      )
    z = network.embedded(params, statistics, features)
    bank = {"params": params["prototypes"]}
    near: Any = network.layer.apply(bank, z)
    rows = {"distances": near.distances, "cells": near.cells}
    found, _ = network.forward(params, state, rows)
    if network.similarity.name != "projection":
      return found, near.distances, statistics
    layer = network.layer.clone(similarity=load("cosine"))
    cosine: Any = layer.apply(bank, directions(z, len(self._branches)))
    return found, cosine.distances, statistics
