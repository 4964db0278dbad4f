"""Measurements of any kind from one .npz file: --config.modality.root=FILE.

It holds "values" [n H W c], or features [n d] with --config.modality.size=1;
"targets" [n 2], the pair of numbers of each; and "groups" [n], the number of
the subject or device that each was taken of. Without groups each measurement is
its own, and splits may part what belongs together.
"""

from pathlib import Path
from typing import Any

import numpy as np

from protojax.datasets import array_file
from protojax.datasets.measurements import Measurements
from protojax.types import UserError


def measure(modality: Any, seed: int) -> Measurements:
  """Opens the file.

  Raises:
    UserError: it is not there, or not as the module says.
  """
  del seed
  if not modality.root:
    raise UserError(
      "no measurements given: set --config.modality.root=FILE.npz, with"
      " 'values', 'targets' and 'groups', or a bank of your own with"
      " --config.teacher_prototypes=FILE.npz"
    )
  path = Path(modality.root).expanduser()
  found = array_file.read_named(path, "values", "targets")
  values, targets = found["values"], found["targets"]
  count = len(values)
  if values.ndim == 2:
    if modality.size != 1:
      raise UserError(
        f"values of {path} are {values.shape}, features and no maps: set"
        f" --config.modality.size=1, not {modality.size}"
      )
    values = values[:, None, None]
  if values.ndim != 4 or values.dtype.kind not in "fiu":
    raise UserError(
      f"values of {path} are {values.dtype} of shape {found['values'].shape};"
      " expected numbers [n H W c] or [n d]"
    )
  if targets.shape != (count, 2):
    raise UserError(
      f"targets of {path} are of shape {targets.shape}; expected ({count}, 2),"
      " a pair for each of the values"
    )
  groups = found.get("groups", np.arange(count))
  if groups.shape != (count,) or groups.dtype.kind not in "iu":
    raise UserError(
      f"groups of {path} are {groups.dtype} of shape {groups.shape}; expected"
      f" whole numbers of shape ({count},)"
    )
  for name, array in (("values", values), ("targets", targets)):
    bad = ~np.isfinite(array.reshape(count, -1)).all(axis=1)
    if bad.any():
      raise UserError(
        f"{name} of {path} are not finite in {bad.sum()} of {count} rows; leave"
        " these rows out"
      )
  return Measurements(
    path.stem,
    values.astype(np.float32),
    targets.astype(np.float32),
    groups.astype(np.int32),
    tuple(f"channel {i}" for i in range(values.shape[-1])),
  )
