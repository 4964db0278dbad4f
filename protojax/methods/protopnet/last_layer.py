"""The stage that solves for the head's weights, after a push or a pruning.

The scores are fixed then, so the weights are those with the smallest cross
entropy (ProtoPNet, section 2.2, stage 3). The ridge pulls weights to +1 for the
own class and to 0 for the others. The search starts there, so the result
depends on the scores alone.
"""

from typing import Any

import jax.numpy as jnp

from protojax.data.stream import Stream
from protojax.engine.cached import Cached
from protojax.engine.editable import Editable
from protojax.engine.head_solver import Kept, Solver
from protojax.engine.stage import Pass
from protojax.prototypes.network import Network
from protojax.types import Metrics, State, UserError

# Most bytes of the scores of all training images.
_BYTES = 8 << 30


def solved(solver: str) -> bool:
  """Whether it is "convex" and not "adam"; `UserError` for another solver."""
  if solver not in ("convex", "adam"):
    raise UserError(f"--config.last.solver={solver!r}: choose convex or adam.")
  return solver == "convex"


def stage(
  name: str,
  network: Network,
  data: Stream,
  features: Cached,
  l1: float,
  ridge: float,
  steps: int,
) -> Pass:
  """The stage; see `solve` for the settings.

  Raises:
    UserError: the scores take more memory than they may.
  """
  count, prototypes = len(data), network.layer.count
  size = 4 * count * prototypes
  if size > _BYTES:
    raise UserError(
      f"the scores of {count} images for {prototypes} prototypes take"
      f" {size / 2**30:.0f} GiB, more than the {_BYTES >> 30} GiB that the"
      " solver of the last layer may use: train it with"
      " --config.last.solver=adam."
    )

  def sweep(state: State, data: Stream) -> tuple[State, Metrics]:
    return solve(network, state, data, features, l1, ridge, steps)

  return Pass(name, sweep, data)


def solve(
  network: Network,
  state: State,
  data: Stream,
  features: Cached,
  l1: float,
  ridge: float,
  steps: int,
) -> tuple[State, Metrics]:
  """The head's weights at the minimum of CE + l1 |w off class| + the ridge.

  Args:
    network: the network.
    state: its state; the weights of dead prototypes do not change.
    data: all images in source order, without augmentation.
    features: cached rows of the backbone.
    l1: factor of the L1 term.
    ridge: factor of half the squared distance of the weights from +1 and 0.
      Without it the weights to the own class could grow without end.
    steps: most steps.

  Returns:
    The state, and "loss", "iterations", "residual", and "off_class", the number
    of weights from living prototypes to other classes that are not 0.
  """
  # Twice, since the limit counts the padding of the last batch, too.
  rows = Cached(network.score_rows, after=features, limit=2 * _BYTES).rows(
    state, data
  )
  assert rows is not None, "`stage` has checked their size"
  solver = Solver(len(network.class_names), (l1,), ridge, steps)
  state, (found,) = solver(state, Kept(rows["scores"], data))
  weights, entries = network.off_class(state.params, state)
  metrics = {
    "loss": found.loss,
    "iterations": found.iterations,
    "residual": found.residual,
    "off_class": float(jnp.sum(jnp.where(weights != 0, entries, 0))),
  }
  return state, metrics


def editable(method: Any) -> Editable:
  """ProtoPNet's prototypes, with the head that its last stage solves for.

  Args:
    method: of the run.
  """
  c, network = method.config, method.network
  solver = Solver(
    len(network.class_names), (c.loss.l1,), c.last.ridge, c.last.steps
  )
  return Editable(network, solver, method.features)
