"""How much boxes and cuboids overlap: in the image, from above, in space.

A pair's intersection over union. From above, two bottoms are convex
quadrilaterals: their intersection is bounded by the parts of the sides of each
that lie in the other, and its area follows from Green's theorem.
"""

from jaxtyping import Float
import numpy as np

from protojax.data import cuboids
from protojax.data.cuboids import Cuboids

# Metres: sides nearer than this are one.
_SAME = 1e-9


def of_boxes(
  one: Float[np.ndarray, "n 4"],
  other: Float[np.ndarray, "m 4"],
  *,
  of_first: bool = False,
) -> Float[np.ndarray, "n m"]:
  """Of boxes (left, top, right, bottom), each with each.

  Args:
    one, other: boxes.
    of_first: the share of the first box alone, not of the union.
  """
  low = np.maximum(one[:, None, :2], other[None, :, :2])
  high = np.minimum(one[:, None, 2:], other[None, :, 2:])
  both = np.prod(np.maximum(high - low, 0), axis=-1)
  first = np.prod(one[:, 2:] - one[:, :2], axis=-1)[:, None]
  second = np.prod(other[:, 2:] - other[:, :2], axis=-1)[None]
  whole = first if of_first else first + second - both
  return both / np.maximum(whole, 1e-12)


def from_above(one: Cuboids, other: Cuboids) -> Float[np.ndarray, "n m"]:
  """Of the bottoms, each with each."""
  both = _shared_ground(one, other)
  first, second = (np.prod(x.sizes[:, 1:], axis=1) for x in (one, other))
  whole = first[:, None] + second[None] - both
  return both / np.maximum(whole, 1e-12)


def in_space(one: Cuboids, other: Cuboids) -> Float[np.ndarray, "n m"]:
  """Of the cuboids, each with each."""
  bottoms = np.minimum(one.places[:, None, 1], other.places[None, :, 1])
  tops = np.maximum(
    (one.places[:, 1] - one.sizes[:, 0])[:, None],
    (other.places[:, 1] - other.sizes[:, 0])[None],
  )
  both = _shared_ground(one, other) * np.maximum(bottoms - tops, 0)
  first, second = (np.prod(x.sizes, axis=1) for x in (one, other))
  whole = first[:, None] + second[None] - both
  return both / np.maximum(whole, 1e-12)


def _shared_ground(one: Cuboids, other: Cuboids) -> Float[np.ndarray, "n m"]:
  """Square metres that two bottoms share, each with each."""
  first, second = (
    cuboids.grounds(x.sizes, x.places, x.yaws) for x in (one, other)
  )
  # Only those near enough to touch.
  radii = [np.hypot(*x.sizes[:, 1:].T) / 2 for x in (one, other)]
  between = one.places[:, None, ::2] - other.places[None, :, ::2]
  far = np.hypot(*np.moveaxis(between, -1, 0))
  i, j = np.nonzero(far <= radii[0][:, None] + radii[1][None])
  found = np.zeros((one.number, other.number))
  found[i, j] = shared(first[i], second[j])
  return found


def shared(
  one: Float[np.ndarray, "q 4 2"], other: Float[np.ndarray, "q 4 2"]
) -> Float[np.ndarray, " q"]:
  """Area that two convex quadrilaterals share, pair by pair."""
  one, other = _in_turn(one), _in_turn(other)
  # Near the origin, products lose no digits.
  middle = one.mean(axis=1, keepdims=True)
  one, other = one - middle, other - middle
  # A side that both have counts once.
  return _bounded(one, other, -_SAME) + _bounded(other, one, _SAME)


def _in_turn(corners: Float[np.ndarray, "q 4 2"]) -> Float[np.ndarray, "q 4 2"]:
  """Corners against the clock."""
  after = np.roll(corners, -1, axis=1)
  area = np.sum(_cross(corners, after), axis=1)
  return np.where(area[:, None, None] < 0, corners[:, ::-1], corners)


def _bounded(
  sides: Float[np.ndarray, "q 4 2"],
  within: Float[np.ndarray, "q 4 2"],
  least: float,
) -> Float[np.ndarray, " q"]:
  """Green's sum over the parts of sides inside of other quadrilaterals.

  Args:
    sides: corners of the one.
    within: corners of the other.
    least: distance to each side of the other that is inside, in metres.
  """
  start, end = sides, np.roll(sides, -1, axis=1)
  edge = np.roll(within, -1, axis=1) - within
  long = np.maximum(np.linalg.norm(edge, axis=-1, keepdims=True), 1e-12)
  edge = edge / long
  # Distance of each end [q 4] to each side [q 4] of the other.
  first = _cross(edge[:, None], start[:, :, None] - within[:, None]) - least
  last = _cross(edge[:, None], end[:, :, None] - within[:, None]) - least
  change = last - first
  at = -first / np.where(change == 0, 1, change)
  low = np.where(first < 0, np.where(change > 0, at, 2), 0).max(axis=2)
  high = np.where(last < 0, np.where(change < 0, at, -1), 1).min(axis=2)
  low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
  way = end - start
  # Two that stand side by side have a side in common, but no area.
  on = (np.abs(first + least) <= _SAME) & (np.abs(last + least) <= _SAME)
  against = np.einsum("qid,qjd->qij", way, edge) < 0
  high = np.where(np.any(on & against, axis=2), 0, high)
  a, b = start + low[..., None] * way, start + high[..., None] * way
  return np.sum(np.where(high > low, _cross(a, b), 0), axis=1) / 2


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
