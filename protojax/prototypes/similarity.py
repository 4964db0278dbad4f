"""How similar a patch and a prototype are: a metric, and similarities from it.

Distances come from `distance` and `pooling`. The scores that the head
multiplies by its weights are `Similarity.activation` of the smallest distance.
All activations fall with the distance, so the nearest patch is the most similar
one.
"""

from collections.abc import Callable
import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax import finding
from protojax.prototypes import distance
from protojax.types import ArrayLike

# Bounds the log similarity at log(1 / EPSILON) = 9.2103 (the paper's code).
EPSILON = 1e-4


@dataclasses.dataclass(frozen=True)
class Similarity:
  """A metric and a decreasing function from distance to similarity.

  Attributes:
    name: "log", "linear", "cosine" or "projection".
    distance: (features b h w d, prototypes p h1 w1 d) -> whole maps of
      distances b rows columns p; for pictures, and to find the nearest cell.
    prepared: vectors -> the vectors that are compared: directions for the
      cosine, otherwise the vectors themselves.
    offset: prepared patches z ... e -> o(z) ...; of several patches the nearest
      to a prototype p is the one with the smallest o(z) - z·p.
    apart: (prepared patches ... e, prepared prototypes ... e) -> distances ...,
      computed from the differences: exact near 0, where the log similarity is
      steepest.
    activation: distances -> similarities, of any shape.
    inverse: similarities -> distances.
    span: e -> the largest difference of two similarities.
    weight: (similarities, e) -> non-negative weights for the global
      explanation, where e = h1 * w1 * d is the length of a flat prototype.
  """

  name: str
  distance: Callable[..., jax.Array]
  prepared: Callable[..., jax.Array]
  offset: Callable[..., jax.Array]
  apart: Callable[..., jax.Array]
  activation: Callable[..., jax.Array]
  inverse: Callable[..., jax.Array]
  span: Callable[[int], float]
  weight: Callable[..., jax.Array]

  def paired(
    self,
    patches: Float[ArrayLike, "*n e"],
    prototypes: Float[ArrayLike, "*m e"],
  ) -> Float[jax.Array, "*l"]:
    """Distances of patches to prototypes: `apart` of the `prepared` vectors."""
    return self.apart(self.prepared(patches), self.prepared(prototypes))


def load(name: str) -> Similarity:
  """The similarity called `name`.

  Args:
    name: one of ours, or the dotted name of a user's own module, which declares
      `SIMILARITY`.

  Raises:
    UserError: there is no such similarity.
  """
  setting = "config.prototypes.similarity"
  if finding.is_own(name):
    return finding.own(name, ("SIMILARITY",), setting).SIMILARITY
  if name not in _ALL:
    raise finding.unknown(setting, name, _ALL)
  return _ALL[name]


def _themselves(vectors: Float[ArrayLike, "*n e"]) -> Float[jax.Array, "*n e"]:
  return jnp.asarray(vectors)


def _half_square(patches: Float[ArrayLike, "*n e"]) -> Float[jax.Array, "*n"]:
  # |z - p|² = 2 (|z|² / 2 - z·p) + |p|².
  return distance.summed(patches**2) / 2


def _zero(patches: Float[ArrayLike, "*n e"]) -> Float[jax.Array, "*n"]:
  return jnp.zeros(patches.shape[:-1], patches.dtype)


def _apart_l2(
  patches: Float[ArrayLike, "*n e"], prototypes: Float[ArrayLike, "*m e"]
) -> Float[jax.Array, "*l"]:
  return distance.summed((patches - prototypes) ** 2)


def _apart_cosine(
  u: Float[ArrayLike, "*n e"], v: Float[ArrayLike, "*m e"]
) -> Float[jax.Array, "*l"]:
  # 1 - cos = |u - v|² / 2 for directions u, v, without the cancellation. A
  # vector of zeros has no angle: distance 1, as in the maps.
  directed = (distance.summed(abs(u)) > 0) & (distance.summed(abs(v)) > 0)
  return jnp.where(directed, distance.summed((u - v) ** 2) / 2, 1.0)


def _log(distances: Float[ArrayLike, "*n"]) -> Float[jax.Array, "*n"]:
  """ProtoPNet, section 2.1: log((d + 1) / (d + epsilon))."""
  return jnp.log((distances + 1.0) / (distances + EPSILON))


def _inverse_log(
  similarities: Float[ArrayLike, "*n"],
) -> Float[jax.Array, "*n"]:
  # expm1: for a small similarity g (far away) exp(g) - 1 would cancel.
  return jnp.maximum(
    (1.0 - EPSILON * jnp.exp(similarities)) / jnp.expm1(similarities), 0.0
  )


def _linear(distances: Float[ArrayLike, "*n"]) -> Float[jax.Array, "*n"]:
  return jnp.negative(distances)


def _apart_projection(
  patches: Float[ArrayLike, "*n e"], prototypes: Float[ArrayLike, "*m e"]
) -> Float[jax.Array, "*l"]:
  return -distance.summed(patches * prototypes)


def _complement(distances: Float[ArrayLike, "*n"]) -> Float[jax.Array, "*n"]:
  return jnp.subtract(1.0, distances)


def _unchanged(similarities, size):
  del size
  return similarities


def _positive(similarities, size):
  del size
  return jnp.maximum(similarities, 0.0)


def _above_farthest(similarities, size):
  return jnp.maximum(similarities + size, 0.0)


_ALL = {
  s.name: s
  for s in (
    Similarity(
      "log",
      distance.squared_l2,
      _themselves,
      _half_square,
      _apart_l2,
      _log,
      _inverse_log,
      lambda size: math.log(1 / EPSILON),
      _unchanged,
    ),
    Similarity(
      "linear",
      distance.squared_l2,
      _themselves,
      _half_square,
      _apart_l2,
      _linear,
      _linear,
      # Features and prototypes in (0, 1) are at most `size` apart.
      float,
      _above_farthest,
    ),
    Similarity(
      "cosine",
      distance.cosine,
      distance.direction,
      _zero,
      _apart_cosine,
      _complement,
      _complement,
      lambda size: 2.0,
      _positive,
    ),
    # Length of the patch along the prototype (TesNet; ST-ProtoPNet). The
    # distance is minus this length, so it can be negative.
    Similarity(
      "projection",
      distance.projection,
      _themselves,
      _zero,
      _apart_projection,
      _linear,
      _linear,
      # Features in (-1, 1) along a prototype of length 1.
      lambda size: 2 * math.sqrt(size),
      _positive,
    ),
  )
}
