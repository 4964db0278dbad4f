"""Which examples of a source a stream draws, how often, and by which labels."""

from collections.abc import Callable, Sequence
import functools

from jaxtyping import Float, Float64, Int, Int32
import numpy as np

from protojax.data import columns
from protojax.data.source import Source
from protojax.types import UserError


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


# Positions in the source, and how often each came before in the epoch.
Drawn = tuple[Int32[np.ndarray, "B"], Int32[np.ndarray, "B"]]


def in_order(
  positions: Int32[np.ndarray, "r"],
  order: Callable[[int], Int[np.ndarray, "B"]],
) -> Callable[[int], Drawn]:
  """Function from a step to its examples, each as often as in `positions`.

  Args:
    positions: of the examples in the source.
    order: step -> places in `positions`, all of an epoch different.
  """
  before = occurrences(positions)

  def drawn(step: int) -> Drawn:
    at = order(step)
    return positions[at], before[at]

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
    positions: of the examples to draw from, in the source.
    weights: of these examples.
    seed: of the draws of every epoch.
    size: examples of a step.
    per_epoch: steps of an epoch.
  """
  # The last is exactly 1, so that no number in [0, 1) is above it.
  borders = np.cumsum(weights)
  borders /= borders[-1]

  @functools.lru_cache(maxsize=2)
  def epoch(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng((seed % 2**32, number))
    found = random.random(per_epoch * size)
    found = positions[np.searchsorted(borders, found, side="right")]
    return found.reshape(-1, size), occurrences(found).reshape(-1, size)

  def drawn(step: int) -> Drawn:
    found, before = epoch(step // per_epoch)
    return found[step % per_epoch], before[step % per_epoch]

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
