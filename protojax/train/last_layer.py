"""The stage that trains the head alone, as a problem with one solution.

What follows a push or a pruning: the scores are fixed, so the head's weights
are those of the smallest cross entropy (ProtoPNet, section 2.2, stage 3). The
ridge draws to +1 for the own class and 0 for the others, which is where the L1
term draws to, and where the search begins: the weights depend on the scores
alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from protojax.data.pipeline import Stream
from protojax.losses import prototype as losses
from protojax.prototypes import head as heads
from protojax.prototypes.network import Network
from protojax.train import convex, kept
from protojax.types import Array, Batch, Metrics, PyTree, State, UserError

# Of the scores of all training images.
_BYTES = 8 << 30


def check(examples: int, prototypes: int) -> None:
  """Raises `UserError` where the scores are more than memory shall hold."""
  size = 4 * examples * prototypes
  if size > _BYTES:
    raise UserError(
      f"the scores of {examples} images for {prototypes} prototypes take"
      f" {size / 2**30:.0f} GiB, more than the {_BYTES >> 30} GiB that the last"
      " layer is solved in: train it with --config.last.solver=adam."
    )


def solve(
  network: Network,
  state: State,
  data: Stream,
  *,
  l1: float,
  ridge: float,
  steps: int,
  tolerance: float,
) -> tuple[State, Metrics]:
  """The head's weights at the minimum of CE + l1 |w off class| + the ridge.

  Args:
    network: whose scores the head weighs.
    state: its state; dead prototypes' weights stay as they are.
    data: `batches()` of all images, without augmentation.
    l1: weight of the L1 term.
    ridge: half of it times the square of what the weights are away from +1 and
      0. Cross entropy alone would let those to the own class grow without end.
    steps: at most.
    tolerance: of the search; see `convex.Solution`.

  Returns:
    The state, and "loss", "iterations", "residual", and "off_class", how many
    weights of living prototypes to other classes are not 0.
  """
  rows = kept.rows(network.score_rows, state, data, limit=_BYTES)
  assert rows is not None, "`check` comes first"
  classed = state.buffers["class_of"], state.buffers["alive"]
  count = len(network.class_names)
  own, off = heads.load(state.params["head"], count).entries(*classed)
  found = convex.solve(
    loss(count),
    state.params["head"],
    dict(zip(("class_of", "alive"), classed, strict=True)),
    convex.batches(rows, data),
    convex.Penalty(
      entries=jax.tree.map(jnp.add, own, off),
      l1=jax.tree.map(lambda x: l1 * x, off),
      centre=jax.tree.map(lambda x: jnp.asarray(x) > 0, own),
      ridge=ridge,
    ),
    steps,
    tolerance,
  )
  head = jax.tree.map(np.asarray, found.params)
  weights, entries = heads.load(head, count).off_class(*classed)
  return state.replace(params={**state.params, "head": head}), {
    "loss": found.loss,
    "iterations": found.iterations,
    "residual": found.residual,
    "off_class": float(np.sum(np.where(np.asarray(weights) != 0, entries, 0))),
  }


@functools.lru_cache(maxsize=8)
def loss(count: int) -> convex.Loss:
  """Cross entropy of each image's scores; one function for each `count`."""

  def of_scores(head: PyTree, buffers: PyTree, batch: Batch) -> Array:
    weights = heads.load(head, count)
    logits = weights.logits(
      batch["scores"], buffers["class_of"], buffers["alive"]
    )
    return losses.cross_entropy(logits, batch["label"])

  return of_scores
