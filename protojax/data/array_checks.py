"""Checks of the arrays that a source gives: what was found, what is expected.

Each raises a ValueError. `fields` calls them, and `memory` names the example.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

_NAMES = {np.integer: "int", np.floating: "float", np.bool_: "bool"}


def array(value: Any, kind: Any, *axes: str | int) -> np.ndarray:
  """The value as an array, if it has this kind of numbers and these axes.

  Args:
    value: of the source.
    kind: a type of NumPy such as np.integer.
    axes: lengths, or names of axes of any length.
  """
  found = np.asarray(value)
  fits = np.issubdtype(found.dtype, kind) and found.ndim == len(axes)
  if not fits or any(
    isinstance(axis, int) and axis != side
    for axis, side in zip(axes, found.shape, strict=True)
  ):
    raise ValueError(
      f"found {found.dtype} {_brackets(found.shape)}, expected"
      f" {_NAMES.get(kind, 'uint8')} {_brackets(axes)}"
    )
  return found


def between(values: np.ndarray, low: int, high: int) -> np.ndarray:
  """The values, if all lie in a range."""
  if values.size and (values.min() < low or values.max() > high):
    raise ValueError(
      f"found values from {values.min()} to {values.max()}, expected values"
      f" from {low} to {high}"
    )
  return values


def finite(values: np.ndarray) -> np.ndarray:
  """The values, if all are finite."""
  count = int((~np.isfinite(values)).sum())
  if count:
    raise ValueError(
      f"found {count} values that are not finite, expected finite ones"
    )
  return values


def padded(rows: np.ndarray, length: int) -> np.ndarray:
  """Zeros after the rows, if there are not too many."""
  if len(rows) > length:
    raise ValueError(f"found {len(rows)} rows, expected at most {length}")
  padding = np.zeros((length - len(rows), *rows.shape[1:]), rows.dtype)
  return np.concatenate([rows, padding])


def parts(value: Any, *names: str) -> list[Any]:
  """The values of a mapping that has these names and no others."""
  if not isinstance(value, Mapping) or set(value) != set(names):
    found = list(value) if isinstance(value, Mapping) else type(value).__name__
    raise ValueError(f"found {found}, expected a mapping of {list(names)}")
  return [value[name] for name in names]


def _brackets(axes: tuple) -> str:
  return f"[{', '.join(map(str, axes))}]" if axes else "(one number)"
