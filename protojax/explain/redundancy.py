"""Redundancy: prototypes that say the same, and the model without them.

Two prototypes are redundant if they are the same patch, or if they are close,
fire together and are alike for the same reasons. `groups` finds them, `merge`
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

  Links chain: the two ends of a group may be further apart than the thresholds
  allow. The extremes below say how far.

  Attributes:
    kind: "exact" if all are the same patch, else "near".
    prototypes: their numbers, ascending; at least two.
    distance: the largest between two of them, as in `Thresholds`.
    correlation: the least between two of them; nan if one is always as similar.
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
    """Counts the images of a batch, padding cut off; it may be empty."""
    values = np.asarray(similarity, np.float64)
    if not len(values):
      return
    mean = np.mean(values, axis=0)
    moved, total = mean - self._mean, self._count + len(values)
    # Chan et al. (1979): about the batch's own mean, then one row for the way
    # between the means. Raw products would cancel.
    between = moved * np.sqrt(self._count * len(values) / total)
    centred = np.concatenate([values - mean[None], between[None]])
    self._products += centred.T @ centred
    self._mean += moved * (len(values) / total)
    self._count = total

  def matrix(self) -> Float[np.ndarray, "p p"]:
    """Pearson's correlation; nan for a prototype that is always as similar."""
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

  # One by one: through a matrix product, equal ones would not be at 0.
  return distance.squareform(distance.pdist(rows))


def explanation_distances(
  importance: Float[ArrayLike, "m p"],
) -> Float[np.ndarray, "p p"]:
  """L2 distances of global scores, z-scored per characteristic.

  Without that a characteristic that matters to all prototypes would drown the
  others. One that has no spread tells no two apart and adds 0; a prototype
  without scores (nan) is at nan from all others.
  """
  scores = np.asarray(importance, np.float64).T
  known = ~np.isnan(scores).any(axis=1)
  kept = scores[known]
  found = np.full((len(scores), len(scores)), np.nan)
  np.fill_diagonal(found, 0.0)
  if len(kept) > 1:
    spread = np.where(np.ptp(kept, axis=0) > 0, np.std(kept, axis=0), np.inf)
    found[np.ix_(known, known)] = _distances(kept / spread[None])
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

  Only prototypes of one class are linked: merged with one of another class, a
  prototype would no longer stand for any.

  Args:
    numbers: of the prototypes alive, which all other arguments are of.
    class_of: their classes.
    image, cell: the patches they were pushed to; image -1 for none.
    prototypes: themselves, flattened.
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
  """The head and the living prototypes once every group is its first one.

  The first one's column becomes the sum of the group's; the others die. Logits
  stay as they were where all of a group have the same similarities, as exact
  duplicates have.

  Args:
    weight: of the head, over all prototypes.
    alive: of all prototypes; those of the groups are.
    redundant: see `groups`; none shares a prototype with another.
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
  # Here: with what they load, these take a fifth of a second.
  from scipy import sparse
  from scipy.sparse import csgraph

  graph = sparse.csr_array(links)
  return csgraph.connected_components(graph, directed=False)[1]


def _members(component: Int[np.ndarray, " p"]) -> list[np.ndarray]:
  """Positions in every component of two or more, by the first of them."""
  found = [np.flatnonzero(component == c) for c in np.unique(component)]
  return sorted((m for m in found if len(m) > 1), key=lambda m: m[0])
