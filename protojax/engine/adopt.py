"""Starts a run from another run's checkpoint, also with other classes."""

from pathlib import Path

import jax
import numpy as np

from protojax import parallel
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, flatten, unflatten
from protojax.types import PyTree, State, UserError


def take_over(
  state: State, init_from: str, class_names: tuple[str, ...] | None
) -> State:
  """A fresh state with the arrays of another run's newest checkpoint that fit.

  Buffers (class and provenance of each prototype) always start anew.

  Args:
    state: the fresh one.
    init_from: workdir of the other run; '' leaves the state as it is.
    class_names: of the new run.

  Raises:
    UserError: the folder holds no checkpoint, or one of another backbone.
  """
  if not init_from:
    return state
  fresh = flatten(state)
  taken = fitting(state, init_from, class_names)
  missing = set(fresh) - set(taken)
  if any(name.startswith("params.backbone.") for name in missing):
    raise UserError(
      f"the backbone of {init_from} is another one; set config.backbone.name"
      " to its name, or train without --init-from."
    )
  anew = sorted(
    {
      ".".join(name.split(".")[:2])
      for name in missing
      if not name.startswith("buffers.")
    }
  )
  parallel.say(
    f"{len(taken)} arrays taken over from {init_from}; anew:"
    f" {', '.join(anew) or 'none'}"
  )
  return unflatten(state, {**fresh, **taken})


def fitting(
  state: State, init_from: str, class_names: tuple[str, ...] | None
) -> dict[str, np.ndarray]:
  """Parameters, statistics and memory of a run that fit into a state.

  They have the same name and shape there. Prototypes, head, label
  tables and memory fit only if both runs have the same classes.
  """
  checkpoints = Checkpoints(Path(init_from))
  _, arrays = checkpoints.restore()
  checkpoints.close()
  fresh = flatten(state)
  same = workdir.class_names(Path(init_from)) == class_names
  of_classes = (
    *("params.prototypes.", "params.head.", "params.labels.table"),
    "memory.",
  )
  found = {}
  for name, array in arrays.items():
    name = name.removeprefix("state.")
    if not name.startswith(("params.", "statistics.", "memory.")):
      continue
    if name.startswith(of_classes) and not same:
      continue
    if name in fresh and fresh[name].shape == array.shape:
      found[name] = array
  return found


def fitted(made: State, template: PyTree) -> State:
  """A state that was put together from foreign arrays, on the host.

  Args:
    made: its arrays may be of other types.
    template: a state of shapes, whose types the arrays get.

  Raises:
    UserError: an array is missing or has another shape.
  """
  same = unflatten(template, flatten(made))
  return parallel.to_host(
    jax.tree.map(lambda x, like: np.array(x, like.dtype), same, template)
  )
