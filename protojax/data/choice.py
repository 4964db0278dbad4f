"""Which examples of a source a stream draws, how often, and by which labels."""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import NamedTuple

import grain
from jaxtyping import Bool, Float, Float64, Int, Int32
import numpy as np

from protojax.data import columns
from protojax.data.source import Source
from protojax.types import UserError


class Step(NamedTuple):
  """The examples of a step, over all processes.

  Attributes:
    epoch: its number.
    indices: of the examples in the source.
    valid: False for padding.
    draws: how often each example came before in the epoch.
    columns: more of each, by name.
  """

  epoch: int
  indices: Int32[np.ndarray, "B"]
  valid: Bool[np.ndarray, "B"]
  draws: Int32[np.ndarray, "B"]
  columns: Mapping[str, np.ndarray]


def rows(
  given: Sequence[int] | np.ndarray | None, source: Source
) -> Int32[np.ndarray, "r"] | None:
  """Positions in a source; None: all.

  Raises:
    UserError: the source has no such position.
  """
  if given is None:
    return None
  found = np.asarray(given)
  if found.size and not np.issubdtype(found.dtype, np.integer):
    raise UserError(f"rows are {found.dtype}, expected positions (int)")
  wrong = (found < 0) | (found >= len(source))
  if wrong.any():
    raise UserError(
      f"rows hold {found[wrong][0]}, expected positions from 0 to"
      f" {len(source) - 1} in the source"
    )
  return found.astype(np.int32)


def weights(
  given: Sequence[float] | np.ndarray | None,
  source: Source,
  chosen: Int32[np.ndarray, "r"] | None,
) -> Float64[np.ndarray, "N"] | None:
  """The weight of each example of a source; None: all are drawn alike.

  Raises:
    UserError: these are no weights, or no chosen example can be drawn.
  """
  if given is None:
    return None
  found = _one_each("weights", given, source).astype(np.float64)
  if not np.all(np.isfinite(found) & (found >= 0)):
    raise UserError("weights must be finite, and 0 or more")
  if not np.any(found if chosen is None else found[chosen]):
    raise UserError("all weights are 0: give those to draw a positive one")
  return found


def labels(
  given: Sequence[int] | np.ndarray | None, source: Source
) -> Int32[np.ndarray, "N"] | None:
  """A label for each example of a source; None: its own.

  Raises:
    UserError: these are no labels of the source's classes.
  """
  if given is None:
    return None
  found = _one_each("labels", given, source)
  if not np.issubdtype(found.dtype, np.integer):
    raise UserError(f"labels are {found.dtype}, expected classes (int)")
  return columns.of_classes("labels", found, source)


def of_rows(
  given: Mapping[str, np.ndarray] | None,
  source: Source,
  chosen: Int32[np.ndarray, "r"] | None,
) -> Mapping[str, np.ndarray]:
  """More of each row of a stream, by name; None: nothing.

  Raises:
    UserError: a column has not one value for each row.
  """
  count = len(source) if chosen is None else len(chosen)
  for name, values in (given or {}).items():
    if len(values) != count:
      raise UserError(
        f"the column {name!r} has {len(values)} values, expected one for each"
        f" of the {count} rows"
      )
  return given or {}


# Places in the rows of a stream; how often the example of each came before in
# the epoch; False for padding.
Drawn = tuple[
  Int32[np.ndarray, "B"], Int32[np.ndarray, "B"], Bool[np.ndarray, "B"]
]


def in_order(
  positions: Int32[np.ndarray, "r"], seed: int, size: int, padded: bool
) -> Callable[[int], Drawn]:
  """Function from a step to its rows, each once in an epoch.

  Args:
    positions: of the rows in the source.
    seed: of the order of every epoch.
    size: rows of a step.
    padded: the last step of an epoch has what remains; else that is dropped.
  """
  before = occurrences(positions)
  order = grain.MapDataset.range(len(positions)).shuffle(seed % 2**32)
  order = order.batch(size, drop_remainder=not padded).repeat()

  def drawn(step: int) -> Drawn:
    at = np.asarray(order[step], np.int32)
    valid = np.arange(size) < len(at)
    at = np.pad(at, (0, size - len(at)), mode="edge")
    return at, before[at], valid

  return drawn


def by_weight(
  positions: Int32[np.ndarray, "r"],
  weights: Float[np.ndarray, "r"],
  seed: int,
  size: int,
  per_epoch: int,
) -> Callable[[int], Drawn]:
  """Function from a step to draws with replacement, in proportion to weights.

  Args:
    positions: of the rows to draw from, in the source.
    weights: of these rows.
    seed: of the draws of every epoch.
    size: rows of a step.
    per_epoch: steps of an epoch.
  """
  # The last is exactly 1, so that no number in [0, 1) is above it.
  borders = np.cumsum(weights)
  borders /= borders[-1]

  @functools.lru_cache(maxsize=2)
  def epoch(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng((seed % 2**32, number))
    found = np.searchsorted(borders, random.random(per_epoch * size), "right")
    before = occurrences(positions[found])
    return found.astype(np.int32).reshape(-1, size), before.reshape(-1, size)

  def drawn(step: int) -> Drawn:
    at, before = epoch(step // per_epoch)
    return at[step % per_epoch], before[step % per_epoch], np.ones(size, bool)

  return drawn


def occurrences(numbers: Int[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
  """How often each number comes before its place."""
  order = np.argsort(numbers, kind="stable")
  _, first, counts = np.unique(
    numbers[order], return_index=True, return_counts=True
  )
  found = np.empty(len(numbers), np.int32)
  found[order] = np.arange(len(numbers)) - np.repeat(first, counts)
  return found


def padded(positions: Int32[np.ndarray, "r"], size: int, step: int) -> Step:
  """A step of positions in their order, the last one padded."""
  at = np.arange(step * size, (step + 1) * size)
  # Padding repeats the last example: its label is valid, and its fields are in
  # the same batch, so that it is read once.
  last = len(positions) - 1
  indices, none = positions[np.minimum(at, last)], np.zeros(size, np.int32)
  return Step(0, indices, at <= last, none, {})


def _one_each(
  name: str, given: Sequence | np.ndarray, source: Source
) -> np.ndarray:
  found = np.asarray(given)
  if found.shape != (len(source),):
    raise UserError(
      f"{name} have shape {found.shape}, expected one for each of the"
      f" {len(source)} examples of the source, also of those not in rows"
    )
  return found
