"""The weights of a head that are best for kept scores, with some ruled out.

With fixed scores, cross entropy with its penalties is convex in the weights, so
there is one best head for the prototypes that are alive. ProtoPNet's last stage
asks for it, and a person who throws out prototypes does again.

A dense head is first brought near by `convex`, and then to its last digits by
`active_set`, so that it is the same wherever the search starts. Where there is
a head that is near already, as before a removal, only the second is needed.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float
import numpy as np

from protojax.data.stream import Stream
from protojax.engine import active_set, convex, score_point
from protojax.losses import prototype as losses
from protojax.prototypes import head as heads
from protojax.prototypes.bank import bank_of
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError

# The residual that ends the search. Weights are then within 1e-3 of the best,
# and the loss within 1e-8.
TOLERANCE = 1e-5
# The same for a dense head. At 1e-7 logits of heads from two starts were 7e-5
# apart (1,500 images, 50 classes).
_FINE = 1e-8
# Most rounds to get there; a search that starts near takes up to ten.
_ROUNDS = 30
# A head is near the best one if its residual is below this share of that at the
# centre.
_NEAR = 1e-2
# Bytes of the logits of all images, above which a head is not refined.
_BYTES = 2 << 30


class Near(NamedTuple):
  """A head that others are near.

  Attributes:
    point: of its weights.
    first: the residual at the centre of the penalty.
  """

  point: score_point.Point
  first: float


class Kept:
  """Scores of the training images, kept for one search after the other.

  Attributes:
    scores: float32 [n p].
    data: the stream of the images, for their labels.
    near: number of a block -> the best head of it that was found first. Later
      searches start there.
  """

  def __init__(self, scores: Float[ArrayLike, "n p"], data: Stream) -> None:
    """Copies nothing yet."""
    self.scores, self.data = np.asarray(scores), data
    self.near: dict[int, Near] = {}
    self._blocks: dict[int, score_point.Scores] = {}

  @functools.cached_property
  def batches(self) -> Sequence[Batch]:
    """On the devices: `convex.batches`."""
    return convex.batches({"scores": self.scores}, self.data)

  def block(self, number: int, of: int, classes: int) -> score_point.Scores:
    """The scores of one of equally many prototypes, on the host."""
    if number not in self._blocks:
      chosen = np.split(self.scores, of, axis=1)[number]
      labels = np.asarray(self.data.labels)
      self._blocks[number] = score_point.kept(chosen, labels, classes)
    return self._blocks[number]


@dataclasses.dataclass(frozen=True)
class ScoreLoss:
  """Cross entropy of each image, from its scores; equal for equal `classes`.

  Attributes:
    classes: k, the number of classes.
  """

  classes: int

  def __call__(self, head: PyTree, buffers: PyTree, batch: Batch) -> Array:
    """[b], from the head's parameters and the cached rows "scores" [b p]."""
    logits = heads.load(head, self.classes).logits(batch["scores"], **buffers)
    return losses.cross_entropy(logits, batch["label"])


@dataclasses.dataclass(frozen=True)
class Solver:
  """Finds weights at the minimum of CE + l1 |w off class| + the ridge.

  Attributes:
    classes: k, the number of classes.
    l1: factor of the L1 term, for each branch of the network. Prototypes are as
      many equal blocks; each block is solved for alone, by its own logits.
    ridge: factor of half the squared distance of the weights from +1 for the
      own class and 0 for others. Without it the weights to the own class could
      grow without end.
    steps: most steps of `convex`; a head that needs more is not refined.
    tolerance: the residual that ends them; see `convex.Solution`. A dense head
      is refined from 1e-2 on.
  """

  classes: int
  l1: tuple[float, ...]
  ridge: float
  steps: int
  tolerance: float = TOLERANCE

  def __call__(
    self,
    state: State,
    kept: Kept,
    forbidden: Bool[ArrayLike, "k p"] | None = None,
  ) -> tuple[State, list[convex.Solution]]:
    """The state with the best head, and how each block was found.

    Weights of dead prototypes do not change.

    Args:
      state: its head, and which of its prototypes are alive.
      kept: scores of the training images.
      forbidden: weights that must be 0; None: none must.

    Raises:
      UserError: weights are forbidden in a head that does not have one for each
        class and prototype, or a score is not a number.
    """
    return self._solved(state, kept, forbidden, alone=False)

  def nearly(
    self,
    state: State,
    kept: Kept,
    forbidden: Bool[ArrayLike, "k p"] | None = None,
  ) -> tuple[State, float]:
    """The state with a head near the best one, which is found sooner.

    Visits the classes that are far from their best weights, one by one, from
    the best head that was found first. Where there is none, or classes share
    weights, this is the best head.

    Args and errors are those of a call.

    Returns:
      The state, and what is left of the residual, as a share of that at the
      centre of the penalty; 0 if it is the best head.
    """
    state, found = self._solved(state, kept, forbidden, alone=True)
    left = max(one.residual for one in found)
    dense = "weight" in state.params["head"]
    return state, left if dense and left > _FINE else 0.0

  def _solved(
    self,
    state: State,
    kept: Kept,
    forbidden: Bool[ArrayLike, "k p"] | None,
    alone: bool,
  ) -> tuple[State, list[convex.Solution]]:
    head, found = state.params["head"], []
    if forbidden is not None and np.any(forbidden):
      head = without(head, forbidden)
    bank = bank_of(state)
    block = len(bank.alive) // len(self.l1)
    for number, l1 in enumerate(self.l1):
      own_block = np.arange(len(bank.alive)) // block == number
      alive = np.asarray(bank.alive) & own_block
      buffers = {"class_of": bank.class_of, "alive": alive}
      penalty = self._penalty(head, buffers, l1, forbidden)
      if "weight" in head and 8 * self.classes * len(kept.data) <= _BYTES:
        solution = self._dense(head, buffers, penalty, kept, number, alone)
      else:
        solution = self._coarse(head, buffers, penalty, kept, self.tolerance)
      head = solution.params
      found.append(solution)
    return state.replace(params={**state.params, "head": head}), found

  def _coarse(
    self,
    head: PyTree,
    buffers: PyTree,
    penalty: convex.Penalty,
    kept: Kept,
    tolerance: float,
  ) -> convex.Solution:
    loss = ScoreLoss(self.classes)
    return convex.solve(
      loss, head, buffers, kept.batches, penalty, self.steps, tolerance
    )

  def _dense(
    self,
    head: PyTree,
    buffers: PyTree,
    penalty: convex.Penalty,
    kept: Kept,
    number: int,
    alone: bool,
  ) -> convex.Solution:
    """The best weights [k p] of a block, from the nearest that are known."""
    scores = kept.block(number, len(self.l1), self.classes)
    width = len(scores.by_prototype)
    own = slice(number * width, (number + 1) * width)
    there = score_point.Penalty(
      np.asarray(penalty.entries["weight"])[:, own] > 0,
      np.asarray(penalty.l1["weight"], np.float64)[:, own],
      np.asarray(penalty.centre["weight"], np.float64)[:, own],
      penalty.ridge,
    )
    score_point.require_numbers(scores, there)
    known = kept.near.get(number)
    first = known.first if known else _first(scores, there)
    start = known.point if known else _start(head, own, scores, there, first)
    limit = _FINE * first

    alone = alone and known is not None

    def refined(start: score_point.Point) -> tuple:
      return active_set.solve(scores, start, there, limit, _ROUNDS, alone)

    found = None if start is None else refined(start)
    steps = 0
    for tolerance in (_NEAR, self.tolerance):
      if found is not None and (alone or found[1] <= limit):
        break
      coarse = self._coarse(head, buffers, penalty, kept, tolerance)
      if coarse.residual > tolerance:
        return coarse
      steps += coarse.iterations
      weight = np.asarray(coarse.params["weight"], np.float64)[:, own]
      found = refined(score_point.at(scores, weight * there.free))
    assert found is not None, "one of the two has been tried"
    point, left, rounds = found
    if left <= limit:
      kept.near.setdefault(number, Near(point, first))
    weight = np.array(head["weight"], np.float32)
    weight[:, own] = np.where(there.free, point.weight, weight[:, own])
    loss = score_point.value(point, scores, there)
    params = {**head, "weight": weight}
    return convex.Solution(params, loss, steps + rounds, left / first)

  def _penalty(
    self,
    head: PyTree,
    buffers: PyTree,
    l1: float,
    forbidden: Bool[ArrayLike, "k p"] | None,
  ) -> convex.Penalty:
    own, off = heads.load(head, self.classes).entries(**buffers)
    entries = jax.tree.map(jnp.add, own, off)
    centre = jax.tree.map(lambda x: jnp.asarray(x) > 0, own)
    if forbidden is not None and np.any(forbidden):
      # `without` has checked that this is the head's one array.
      entries = {"weight": jnp.where(forbidden, 0, entries["weight"])}
    return convex.Penalty(
      entries=entries,
      l1=jax.tree.map(lambda x: l1 * x, off),
      centre=centre,
      ridge=self.ridge,
    )


def _first(scores: score_point.Scores, penalty: score_point.Penalty) -> float:
  """The residual at the centre; 1 where there is nothing to search for."""
  centre = score_point.at(scores, penalty.centre * penalty.free)
  return float(score_point.residual(centre, penalty).max()) or 1.0


def _start(
  head: PyTree,
  own: slice,
  scores: score_point.Scores,
  penalty: score_point.Penalty,
  first: float,
) -> score_point.Point | None:
  """The point of the head, if it has little left."""
  weight = np.asarray(head["weight"], np.float64)[:, own]
  point = score_point.at(scores, weight * penalty.free)
  near = score_point.residual(point, penalty).max() <= _NEAR * first
  return point if near else None


def without(head: PyTree, forbidden: Bool[ArrayLike, "k p"]) -> PyTree:
  """The head with 0 for the weights that are forbidden.

  Raises:
    UserError: it does not have one weight for each class and prototype.
  """
  if "weight" not in head:
    raise UserError(
      "a prototype cannot be forbidden for one class here: the head of this run"
      " (config.prototypes.head=class_block) has one weight for all other"
      " classes. Throw the prototype out, or train with"
      " --config.prototypes.head=dense"
    )
  weight = np.where(forbidden, 0.0, head["weight"]).astype(np.float32)
  return {**head, "weight": weight}
