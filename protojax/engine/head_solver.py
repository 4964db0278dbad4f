"""The weights of a head that are best for kept scores, with some ruled out.

With fixed scores, cross entropy with its penalties is convex in the weights, so
there is one best head for the prototypes that are alive. ProtoPNet's last stage
asks for it, and a person who throws out prototypes does again.
"""

from collections.abc import Sequence
import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Bool
import numpy as np

from protojax.engine import convex
from protojax.losses import prototype as losses
from protojax.prototypes import head as heads
from protojax.prototypes.bank import bank_of
from protojax.types import Array, ArrayLike, Batch, PyTree, State, UserError

# The residual that ends the search. Weights are then within 1e-3 of the best,
# and the loss within 1e-8.
TOLERANCE = 1e-5


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
    steps: most steps.
    tolerance: the residual that ends the search; see `convex.Solution`.
  """

  classes: int
  l1: tuple[float, ...]
  ridge: float
  steps: int
  tolerance: float = TOLERANCE

  def __call__(
    self,
    state: State,
    data: Sequence[Batch],
    forbidden: Bool[ArrayLike, "k p"] | None = None,
  ) -> tuple[State, list[convex.Solution]]:
    """The state with the best head, and how each block was found.

    Weights of dead prototypes do not change.

    Args:
      state: its head, and which of its prototypes are alive.
      data: `convex.batches` of the cached rows "scores" [b p].
      forbidden: weights that must be 0; None: none must.

    Raises:
      UserError: weights are forbidden in a head that does not have one for each
        class and prototype, or a score is not a number.
    """
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
      solution = convex.solve(
        ScoreLoss(self.classes),
        head,
        buffers,
        data,
        penalty,
        self.steps,
        self.tolerance,
      )
      head = solution.params
      found.append(solution)
    return state.replace(params={**state.params, "head": head}), found

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
