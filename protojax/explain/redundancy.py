"""Redundancy: finds prototypes that are nearly the same, and merges them.

Two prototypes are redundant if they are the same patch, or if they are close,
and their similarities and explanations agree. `groups` finds them, `merge`
keeps one of each. After "This Looks Like That, Because ...", which asks whether
prototypes that look the same also have the same explanations; the procedure is
our own.
"""

from collections.abc import Sequence
import dataclasses
from typing import Literal

from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.types import ArrayLike


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """When two prototypes that are not the same patch are redundant.

  All three must hold. The distances have no unit, so that they fit any model.

  Attributes:
    distance: largest L2 distance, as a share of the root mean square distance
      of two prototypes of the model.
    correlation: least correlation of their similarities over a data set.
    explanation: largest distance of their explanations (see
      `explanation_distances`); two unrelated ones are sqrt(2 * 5) = 3.2 apart.
  """

  distance: float = 0.1
  correlation: float = 0.95
  explanation: float = 1.0


@dataclasses.dataclass(frozen=True)
class Group:
  """Prototypes of which one is enough.

  Links form chains: two prototypes of a group may be further apart than the
  thresholds. The attributes say how far.

  Attributes:
    kind: "exact" if all are the same patch, else "near".
    prototypes: their numbers, ascending; at least two.
    distance: the largest between two of them, as in `Thresholds`.
    correlation: the least between two of them; nan if the similarity of one is
      constant.
    explanation: the largest distance of two explanations; nan if one has none.
  """

  kind: Literal["exact", "near"]
  prototypes: tuple[int, ...]
  distance: float
  correlation: float
  explanation: float


class Correlation:
  """Correlation of similarities over a data set, batch by batch.

  Holds the [p, p] sums of products of centred similarities in float64 (32 MB
  for 2000 prototypes), however many images there are.
  """

  def __init__(self, prototypes: int) -> None:
    self._count = 0
    self._mean = np.zeros(prototypes)
    self._products = np.zeros((prototypes, prototypes))

  def add(self, similarity: Float[ArrayLike, "b p"]) -> None:
    """Adds a batch without its padding; it may be empty."""
    values = np.asarray(similarity, np.float64)
    if not len(values):
      return
    mean = np.mean(values, axis=0)
    moved, total = mean - self._mean, self._count + len(values)
    # Chan et al. (1979): products about the mean of the batch, and one row for
    # the difference of the means. Raw products would cancel.
    between = moved * np.sqrt(self._count * len(values) / total)
    centred = np.concatenate([values - mean[None], between[None]])
    self._products += centred.T @ centred
    self._mean += moved * (len(values) / total)
    self._count = total

  def matrix(self) -> Float[np.ndarray, "p p"]:
    """Pearson's correlation; nan for a prototype of constant similarity."""
    spread = np.sqrt(np.diag(self._products))
    spread = np.where(spread > 0, spread, np.nan)
    found = self._products / spread[:, None] / spread[None]
    return np.clip(found, -1.0, 1.0)


def relative_distances(
  prototypes: Float[ArrayLike, "p d"],
) -> Float[np.ndarray, "p p"]:
  """L2 distances as shares of their root mean square over all pairs."""
  found = _distances(np.asarray(prototypes, np.float64))
  pairs = found[np.triu_indices(len(found), 1)]
  scale = np.sqrt(np.mean(pairs**2)) if pairs.any() else 1.0
  return found / scale


def _distances(rows: Float[np.ndarray, "p d"]) -> Float[np.ndarray, "p p"]:
  from scipy.spatial import distance  # Here, as in `_components`.

  # Pair by pair: with a matrix product equal rows would not be at 0.
  return distance.squareform(distance.pdist(rows))


def explanation_distances(
  importance: Float[ArrayLike, "m p"],
) -> Float[np.ndarray, "p p"]:
  """L2 distances of global scores, z-scored per characteristic.

  Without this a characteristic with large scores would outweigh the others. A
  characteristic without spread adds 0. A prototype without scores (nan) has
  distance nan to all others.
  """
  scores = np.asarray(importance, np.float64).T
  known = ~np.isnan(scores).any(axis=1)
  rows = scores[known]
  found = np.full((len(scores), len(scores)), np.nan)
  np.fill_diagonal(found, 0.0)
  if len(rows) > 1:
    spread = np.where(np.ptp(rows, axis=0) > 0, np.std(rows, axis=0), np.inf)
    found[np.ix_(known, known)] = _distances(rows / spread[None])
  return found


def groups(
  *,
  numbers: Int[ArrayLike, " p"],
  class_of: Int[ArrayLike, " p"],
  image: Int[ArrayLike, " p"],
  cell: Int[ArrayLike, " p"],
  prototypes: Float[ArrayLike, "p d"],
  correlation: Float[ArrayLike, "p p"],
  importance: Float[ArrayLike, "m p"],
  thresholds: Thresholds = Thresholds(),
) -> tuple[Group, ...]:
  """Groups of redundant prototypes, by their first number.

  Only prototypes of the same class are linked, because a merged prototype must
  stand for one class.

  Args:
    numbers: of the living prototypes; the other arguments are about these.
    class_of: their classes.
    image, cell: the patches they were pushed to; image -1 for none.
    prototypes: their vectors, flattened.
    correlation: of their similarities; see `Correlation`.
    importance: phi_global of the characteristics, without control.
    thresholds: when two are near enough.
  """
  numbers, image = np.asarray(numbers), np.asarray(image)
  distances = relative_distances(prototypes)
  correlation = np.asarray(correlation)
  explanations = explanation_distances(importance)
  near = (
    (distances <= thresholds.distance)
    & (correlation >= thresholds.correlation)
    & (explanations <= thresholds.explanation)
  )
  exact = _equal(image) & _equal(cell) & (image >= 0)[:, None]
  exact, near = (links & _equal(class_of) for links in (exact, near))
  copies, found = _components(exact), _components(exact | near)
  return tuple(
    Group(
      kind="exact" if len(np.unique(copies[members])) == 1 else "near",
      prototypes=tuple(numbers[members].tolist()),
      distance=float(distances[np.ix_(members, members)].max()),
      correlation=float(correlation[np.ix_(members, members)].min()),
      explanation=float(explanations[np.ix_(members, members)].max()),
    )
    for members in _members(found)
  )


def merge(
  weight: Float[ArrayLike, "k p"],
  alive: Bool[ArrayLike, " p"],
  redundant: Sequence[Group],
) -> tuple[Float[np.ndarray, "k p"], Bool[np.ndarray, " p"]]:
  """Merges each group into its first prototype.

  The first column becomes the sum of the group's columns; the other prototypes
  die. Logits do not change if all of a group have the same similarities, as
  exact duplicates have.

  Args:
    weight: of the head, over all prototypes.
    alive: of all prototypes; True in the groups.
    redundant: see `groups`; no two share a prototype.

  Returns:
    The new weight and alive.
  """
  weight, alive = np.array(weight), np.array(alive)
  for group in redundant:
    first, *others = group.prototypes
    weight[:, first] = np.sum(weight[:, list(group.prototypes)], axis=1)
    weight[:, others] = 0.0
    alive[others] = False
  return weight, alive


def _equal(values: ArrayLike) -> Bool[np.ndarray, "p p"]:
  values = np.asarray(values)
  return values[:, None] == values[None]


def _components(links: Bool[np.ndarray, "p p"]) -> Int[np.ndarray, " p"]:
  """The number of each prototype's connected component."""
  # Here: they take a fifth of a second.
  from scipy import sparse
  from scipy.sparse import csgraph

  graph = sparse.csr_array(links)
  return csgraph.connected_components(graph, directed=False)[1]


def _members(component: Int[np.ndarray, " p"]) -> list[np.ndarray]:
  """Positions in every component of two or more, by the first of them."""
  found = [np.flatnonzero(component == c) for c in np.unique(component)]
  return sorted((m for m in found if len(m) > 1), key=lambda m: m[0])
