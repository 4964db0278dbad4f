"""What editing a prototype classifier takes: its scores, and a head for them.

The scores of images do not depend on which prototypes are alive. They are
computed once, and then every edit is answered from them.
"""

import dataclasses
from typing import Any, Protocol

from jaxtyping import Bool, Float
import numpy as np

from protojax.data.stream import Stream
from protojax.engine.cached import Cached, Function
from protojax.engine.head_solver import Kept, Solver
from protojax.prototypes.explainable import Explainable
from protojax.prototypes.network import Network
from protojax.types import ArrayLike, State, UserError

# Most bytes of the scores of a stream.
_BYTES = 8 << 30


class Edits(Protocol):
  """A classifier whose prototypes a person can throw out.

  Its logits are scores [b p] times weights [k p], plus a bias [k].
  """

  @property
  def merges(self) -> bool:
    """Whether prototypes of a class can be duplicates of each other."""
    ...

  @property
  def solves(self) -> bool:
    """Whether weights are found anew for the prototypes that are left.

    If not, the points of the others are taken away, and that is all.
    """
    ...

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    ...

  @property
  def network(self) -> Explainable:
    """Has the prototypes of a state, its weights and its bias."""
    ...

  def scores(self, state: State, stream: Stream) -> Float[ArrayLike, "n p"]:
    """The scores of all images of a stream, in its order.

    Raises:
      UserError: they take too much memory.
    """
    ...

  def kept(self, scores: Float[ArrayLike, "n p"], stream: Stream) -> Any:
    """The training images' scores, as `solved` takes them.

    Args:
      scores: of all images of the stream.
      stream: in source order, with labels.
    """
    ...

  def solved(
    self, state: State, kept: Any, forbidden: Bool[ArrayLike, "k p"]
  ) -> State:
    """The state with weights for the prototypes that are alive.

    Args:
      state: some of its prototypes may be dead.
      kept: from `kept`.
      forbidden: weights that must be 0.

    Raises:
      UserError: the head cannot forbid a prototype for one class alone.
    """
    ...

  def nearly(
    self, state: State, kept: Any, forbidden: Bool[ArrayLike, "k p"]
  ) -> tuple[State, float]:
    """The same sooner, with weights near to these, and what is left to do.

    Args and errors are those of `solved`.

    Returns:
      The state, and the share of the search that is left; 0 if it is that of
      `solved`.
    """
    ...

  def reference(
    self, state: State
  ) -> tuple[Float[ArrayLike, "k p"], Float[ArrayLike, " k"]] | None:
    """Weights and bias of the classifier that it explains; None without."""
    ...


def scores(
  rows: Function, after: Cached, state: State, stream: Stream
) -> Float[np.ndarray, "n p"]:
  """The scores of all images of a stream, in its order.

  Args:
    rows: (state, batch) -> {"scores": [b p]}.
    after: cached rows that `rows` finds in its batches.
    state: of the method.
    stream: in source order, without augmentation.

  Raises:
    UserError: they take too much memory.
  """
  found = Cached(rows, after=after, limit=_BYTES).rows(state, stream)
  if found is None:
    raise UserError(
      f"the scores of {len(stream)} images take more than {_BYTES >> 30} GiB,"
      " which is what editing may keep of them"
    )
  return found["scores"]


@dataclasses.dataclass(frozen=True)
class Editable:
  """A `Network` whose prototypes a person can edit; see `Edits`.

  Attributes:
    network: the network.
    solver: finds the head.
    after: cached rows of the backbone.
  """

  network: Network
  solver: Solver
  after: Cached

  merges = True
  solves = True

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    return self.network.class_names

  def scores(self, state: State, stream: Stream) -> Float[np.ndarray, "n p"]:
    """The scores of all images of a stream, in its order."""
    return scores(self.network.score_rows, self.after, state, stream)

  def kept(self, scores: Float[ArrayLike, "n p"], stream: Stream) -> Kept:
    """The scores, with the head that was found first."""
    return Kept(scores, stream)

  def solved(
    self, state: State, kept: Kept, forbidden: Bool[ArrayLike, "k p"]
  ) -> State:
    """The state with the best head for its living prototypes."""
    return self.solver(state, kept, forbidden)[0]

  def nearly(
    self, state: State, kept: Kept, forbidden: Bool[ArrayLike, "k p"]
  ) -> tuple[State, float]:
    """The state with a head near the best one, and what is left."""
    return self.solver.nearly(state, kept, forbidden)

  def reference(self, state: State) -> None:
    """None: the prototypes imitate no other classifier."""
    del state
