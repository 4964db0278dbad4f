"""The bank as an asset: its arrays, and what the losses make of them."""

from typing import Any

import jax
from jaxtyping import Float
import numpy as np

from protojax.methods.neurogaze_distill import losses
from protojax.methods.neurogaze_distill.grid_bank import GridBank
from protojax.types import ArrayLike, State

# Its name among the assets.
BANK = "bank"


def tree(
  bank: GridBank, anchors: Float[ArrayLike, "k 2"], proto_kd: Any
) -> dict[str, Any]:
  """Arrays of the asset by name.

  Args:
    bank: from measurements or a file.
    anchors: place of each class on the grid.
    proto_kd: the config's group of that name.
  """
  c = proto_kd
  plain = losses.proto_targets(bank, anchors, "anchor", c.sigma)
  return {
    **bank._asdict(),
    "roots": bank.roots(),
    "targets": losses.proto_targets(bank, anchors, c.target, c.sigma, c.tau),
    "class_logits": losses.class_similarity(bank, plain),
  }


def shapes(cells: int, channels: int, classes: int) -> dict[str, Any]:
  """Shapes of `tree`; reads nothing."""
  whole = dict.fromkeys(("counts", "filled_from", "roots"), (cells,))
  numbers = {
    "prototypes": (cells, channels),
    "centers": (cells, 2),
    "targets": (classes, cells),
    "class_logits": (classes, classes),
  }
  return {
    name: jax.ShapeDtypeStruct(shape, kind)
    for kind, group in ((np.int32, whole), (np.float32, numbers))
    for name, shape in group.items()
  }


def of_run(state: State) -> GridBank | None:
  """The bank of a run on the host, if it has one."""
  if BANK not in state.assets:
    return None
  arrays = state.assets[BANK]
  return GridBank(*(np.asarray(arrays[name]) for name in GridBank._fields))
