"""Distance of a patch, or a prototype, to the boundary between classes.

The features of a single cell have logits: those of an image that shows this
patch everywhere. If the similarity is linear, they are linear in the features,
so that the patch has a distance to the boundary, as a point to a hyperplane.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int
import numpy as np

from protojax.methods.st_protopnet.branches import cut
from protojax.prototypes.distance import PRECISION
from protojax.prototypes.groups import Note
from protojax.prototypes.network import Network
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, State

_AT_ONCE = 64


class Boundary(NamedTuple):
  """Margin and distance of patches; negative on the side of another class.

  Attributes:
    margin: own logit minus the largest other logit, in points.
    distance: Euclidean distance to the nearest boundary with another class, in
      units of the features; unlike the margin it does not grow with the head.
  """

  margin: Float[jax.Array, " n"]
  distance: Float[jax.Array, " n"]


def boundary(
  patches: Float[ArrayLike, "n e"],
  labels: Int[ArrayLike, " n"],
  prototypes: Float[ArrayLike, "p 1 1 e"],
  weights: Float[ArrayLike, "k p"],
  similarity: Similarity,
) -> Boundary:
  """Margin and distance to the decision boundary of single patches.

  With l the logits of a patch z of class c,

    margin   = min over k != c of l_c - l_k
    distance = min over k != c of (l_c - l_k) / |d(l_c - l_k) / dz|

  exact for a similarity that is linear in z, otherwise to first order.

  Args:
    patches: features of single cells.
    labels: the class of each.
    prototypes: of the size of a cell.
    weights: of the head.
    similarity: gives the scores.
  """
  flat = jnp.asarray(prototypes)[:, 0, 0]

  def logits(z: Float[jax.Array, " e"]) -> Float[jax.Array, " k"]:
    scores = similarity.activation(similarity.paired(z[None], flat))
    return jnp.matmul(weights, scores, precision=PRECISION)

  def one(patch: tuple[jax.Array, jax.Array]) -> Boundary:
    z, label = patch
    lead = logits(z)[label] - logits(z)
    slopes = jax.jacrev(logits)(z)
    steepness = jnp.linalg.norm(slopes[label][None] - slopes, axis=1)
    others = jnp.arange(len(lead)) != label
    return Boundary(
      jnp.min(jnp.where(others, lead, jnp.inf)),
      # Two classes with equal weights have no boundary.
      jnp.min(jnp.where(others & (steepness > 0), lead / steepness, jnp.inf)),
    )

  pairs = jnp.asarray(patches), jnp.asarray(labels)
  return jax.lax.map(one, pairs, batch_size=min(_AT_ONCE, len(pairs[0])))


def of_state(network: Network, state: State, branches: int) -> Boundary:
  """Margin and distance of the prototypes, to the boundaries of their branch.

  A branch is trained as a classifier of its own, so it has its own boundaries,
  without the features of other branches at the same place.

  Args:
    network: a network with branches.
    state: its state; after a push the prototypes are patches.
    branches: number of branches.
  """
  bank = network.bank(state)
  blocks = cut(bank.vectors, branches)
  class_of = jnp.reshape(bank.class_of, (branches, -1))
  weights = network.weights(state)
  weights = jnp.reshape(weights, (len(weights), branches, -1))
  found = [
    boundary(
      z, class_of[b], z[:, None, None], weights[:, b], network.similarity
    )
    for b, z in enumerate(blocks)
  ]
  return Boundary(*(jnp.concatenate(x) for x in zip(*found, strict=True)))


@dataclasses.dataclass(frozen=True)
class Notes:
  """Notes on each prototype: its branch, and its distance to the boundary.

  Attributes:
    kinds: names of the branches, in order.
  """

  kinds: tuple[str, ...]

  def __call__(
    self, network: Network, state: State
  ) -> Sequence[Mapping[str, Note]]:
    """One mapping for each prototype."""
    place = of_state(network, state, len(self.kinds))
    distances = np.asarray(place.distance)
    kinds = np.repeat(self.kinds, len(distances) // len(self.kinds))
    return [
      {"kind": kind, "boundary distance": float(distance)}
      for kind, distance in zip(kinds.tolist(), distances, strict=True)
    ]
