"""Ends a run whose numbers are not finite, before such a state is saved."""

import jax
import numpy as np

from protojax import parallel
from protojax.types import ArrayLike, PyTree, State, UserError


def require_loss(stage_id: str, step: int, loss: ArrayLike) -> None:
  """Requires that the loss of a step is finite.

  Args:
    stage_id: of the stage.
    step: its number in the stage, from 1.
    loss: over all devices.

  Raises:
    UserError: it is not.
  """
  if not np.isfinite(value := float(np.asarray(parallel.to_host(loss)))):
    raise _end(f"{stage_id}, step {step}: the loss is {value}")


def require_metric(stage_id: str, step: int, name: str, value: float) -> None:
  """Requires that a metric by which a state is chosen is finite."""
  if not np.isfinite(value):
    raise _end(f"{stage_id}, step {step}: {name} is {value}")


def require_state(stage_id: str, step: int, state: State) -> None:
  """Requires that all but the buffers is finite: see `require_arrays`.

  A buffer may hold the distance to an image that there is not.
  """
  tree = {
    "params": state.params,
    "statistics": state.statistics,
    "memory": state.memory,
  }
  require_arrays(stage_id, step, tree)


def require_arrays(stage_id: str, step: int, tree: PyTree) -> None:
  """Requires that arrays are finite.

  Args:
    stage_id: of the stage.
    step: steps of the stage that are done.
    tree: on the host.

  Raises:
    UserError: they are not; names the first array.
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
      name = jax.tree_util.keystr(path, simple=True, separator=".")
      raise _end(
        f"{stage_id}, after step {step}: {name} has numbers that are not finite"
      )


def _end(what: str) -> UserError:
  return UserError(
    f"{what}, so training cannot go on. The last checkpoint is from before, and"
    " the same command would end here again: train anew with another --workdir"
    " and lower rates, or look for images with extreme values."
  )
