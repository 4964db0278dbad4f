"""Starting from a trained model, also with other classes."""

from pathlib import Path

from protojax import parallel
from protojax.train.checkpoint import Checkpoints, flatten, unflatten
from protojax.types import State, UserError


def take_over(state: State, init_from: str) -> State:
  """A fresh state with all that fits from another run's newest checkpoint.

  Parameters and statistics of the same name and shape are taken over. With
  other classes that leaves out the prototypes and the head, which start anew;
  the buffers (class and source of each prototype) always do.

  Args:
    state: the fresh one.
    init_from: workdir of the other run; '' leaves the state as it is.

  Raises:
    UserError: that folder holds no checkpoint, or one of another backbone.
  """
  if not init_from:
    return state
  checkpoints = Checkpoints(Path(init_from))
  _, arrays = checkpoints.restore()
  checkpoints.close()
  fresh = flatten(state)
  stored = {
    name.removeprefix("state."): array
    for name, array in arrays.items()
    if name.startswith(("state.params.", "state.statistics."))
  }
  taken = {
    name: stored[name]
    for name, array in fresh.items()
    if name in stored and stored[name].shape == array.shape
  }
  if any(n.startswith("params.backbone.") for n in set(fresh) - set(taken)):
    raise UserError(
      f"the backbone of {init_from} is another one; give config.backbone.name"
      " its name, or train without --init-from."
    )
  anew = sorted(
    {
      ".".join(name.split(".")[:2])
      for name in set(fresh) - set(taken)
      if not name.startswith("buffers.")
    }
  )
  parallel.say(
    f"{len(taken)} arrays taken over from {init_from}; anew:"
    f" {', '.join(anew) or 'none'}"
  )
  return unflatten(state, {**fresh, **taken})
