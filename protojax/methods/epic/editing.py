"""Edits of EPIC: channels that shall not count any more.

The points of such a channel are taken away. A classifier that came trained
keeps its other weights: EPIC explains it, and does not train it. A linear probe
was trained here, so its head is found anew for the channels that are left.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float
import numpy as np

from protojax.data.stream import Stream
from protojax.engine import convex, editable, head_solver
from protojax.engine.cached import Cached
from protojax.losses import prototype as losses
from protojax.methods.epic.folding import basis
from protojax.methods.epic.network import RotatedNetwork
from protojax.prototypes import head as heads
from protojax.prototypes.bank import bank_of
from protojax.types import Array, ArrayLike, Batch, PyTree, State

# Of a probe that is found anew: half the squared distance from what it was.
_RIDGE = 1e-4
_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Channels:
  """The channels of a classifier, which a person can edit.

  Attributes:
    network: the classifier.
    after: cached maps of the images.
    solves: whether the head is a linear probe that was trained here.
  """

  network: RotatedNetwork
  after: Cached
  solves: bool

  # The directions of two channels differ.
  merges = False

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, in the order of the logits."""
    return self.network.class_names

  def scores(self, state: State, stream: Stream) -> Float[np.ndarray, "n p"]:
    """The mean of each channel over the cells, for all images of a stream."""
    return editable.scores(self.network.score_rows, self.after, state, stream)

  def kept(
    self, scores: Float[ArrayLike, "n p"], stream: Stream
  ) -> Sequence[Batch]:
    """Batches of the scores, on the devices."""
    return convex.batches({"scores": np.asarray(scores)}, stream)

  def solved(
    self, state: State, kept: Sequence[Batch], forbidden: Bool[ArrayLike, "k p"]
  ) -> State:
    """The state with 0 for forbidden weights, and the best probe with that.

    Args:
      state: some of its channels may be dead.
      kept: from `kept`; not read if the head is no probe.
      forbidden: weights that must be 0.
    """
    head = head_solver.without(state.params["head"], forbidden)
    if self.solves:
      alive = np.asarray(bank_of(state).alive)
      free = {
        "weight": np.float32(alive[None] & ~np.asarray(forbidden)),
        "bias": np.ones_like(head["bias"]),
      }
      none = {name: np.zeros_like(x) for name, x in free.items()}
      head = convex.solve(
        _probe_loss,
        head,
        {"living": alive},
        kept,
        convex.Penalty(free, none, head, _RIDGE),
        _STEPS,
        head_solver.TOLERANCE,
      ).params
    return state.replace(params={**state.params, "head": head})

  def nearly(
    self, state: State, kept: Sequence[Batch], forbidden: Bool[ArrayLike, "k p"]
  ) -> tuple[State, float]:
    """The same: a probe is found soon."""
    return self.solved(state, kept, forbidden), 0.0

  def reference(
    self, state: State
  ) -> tuple[Float[np.ndarray, "k p"], Float[np.ndarray, " k"]]:
    """A U^-1 and b: weights and bias of the classifier that is explained."""
    own = state.params["classifier"]
    turned = np.asarray(basis(state), np.float64)
    weight = np.linalg.solve(turned.T, np.asarray(own["weight"], np.float64).T)
    return weight.T.astype(np.float32), np.asarray(own["bias"])


def of_method(method: Any) -> Channels:
  """The channels of a run.

  Args:
    method: of the run.
  """
  return Channels(method.network, method.maps, method.is_probe)


def _probe_loss(head: PyTree, buffers: PyTree, batch: Batch) -> Array:
  """Cross entropy of each image [b], from the means of its channels."""
  points = heads.logits(batch["scores"], head["weight"], buffers["living"])
  return losses.cross_entropy(
    points + jnp.asarray(head["bias"])[None], batch["label"]
  )
