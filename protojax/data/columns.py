"""Columns: what is known of all examples of a source without reading one.

These are labels, groups, and the sizes of bags.
"""

from typing import Any

from jaxtyping import Int, Int32
import numpy as np

from protojax.data import fields
from protojax.data.source import Source, origin
from protojax.types import UserError

_MOST = 2**31 - 1  # of int32


def known(source: Source) -> dict[str, Int32[np.ndarray, "n"]]:
  """The fields that are columns: the label and the groups."""
  found = {}
  for name, field in fields.of(source).items():
    if isinstance(field, fields.Label) and name == "label":
      found[name] = labels(source)
    elif isinstance(field, fields.Group):
      found[name] = _of_field(groups(source), name)
  return found


def labels(source: Source) -> Int32[np.ndarray, "n"]:
  """The class of each example; -1 is unknown.

  Raises:
    UserError: they are not one for each example, or no classes of the source.
  """
  found = _one_each("labels", source.labels, source)
  return of_classes("labels of a source", found, source)


def of_classes(
  what: str, labels: Int[np.ndarray, "n"], source: Source
) -> Int32[np.ndarray, "n"]:
  """Labels, if each is -1 or a class of a source that names its classes.

  Args:
    what: they are, for the message.
    labels: of the examples.
    source: of the classes; one without names takes any.

  Raises:
    UserError: one is out of range.
  """
  most = len(source.class_names) - 1 if source.class_names else _MOST
  return _between(what, labels, -1, most, "-1 (unknown)")


def groups(source: Source) -> Int[np.ndarray, "n"] | None:
  """The group of each example; None if the source knows none."""
  whole, rows = origin(source)
  found = getattr(whole, "groups", None)
  return None if found is None else _one_each("groups", found, whole)[rows]


def sizes(source: Source, name: str) -> Int[np.ndarray, "n"]:
  """The number of vectors in each bag of a field.

  Raises:
    UserError: the source has no `sizes`, or a bag is empty.
  """
  whole: Any
  whole, rows = origin(source)
  if not hasattr(whole, "sizes"):
    raise UserError(
      f"a source has bags {name!r} but no `sizes(name)`: give it the number of"
      " vectors in each bag, so that a step can be padded before it is read"
    )
  found = _one_each("sizes", whole.sizes(name), whole)[rows]
  if found.size and found.min() < 1:
    empty = source.name(int(np.argmin(found)))
    raise UserError(
      f"example {empty!r}, field {name!r}: found no vector, expected at least 1"
    )
  return found


def _of_field(
  found: Int[np.ndarray, "n"] | None, name: str
) -> Int32[np.ndarray, "n"]:
  if found is None:
    raise UserError(
      f"a source has the field {name!r} of groups but no `groups`: give it the"
      " number of each example's group"
    )
  return _between("groups of a source", found, -_MOST - 1, _MOST)


def _between(
  what: str, found: Int[np.ndarray, "n"], low: int, high: int, least: str = ""
) -> Int32[np.ndarray, "n"]:
  if found.size and (found.min() < low or found.max() > high):
    raise UserError(
      f"{what} are from {found.min()} to {found.max()}, expected"
      f" {least or low} to {high}"
    )
  return found.astype(np.int32)


def _one_each(name: str, given: Any, source: Source) -> np.ndarray:
  found = np.asarray(given)
  if found.shape != (len(source),) or not np.issubdtype(
    found.dtype, np.integer
  ):
    raise UserError(
      f"{name} of a source are {found.dtype} of shape {found.shape}, expected"
      f" int of shape ({len(source)},), one for each example"
    )
  return found
