"""Spherical k-means: the centres that concept prototypes start from.

After a random start most prototypes end without a vector that they are nearest
to, since the nearest prototype gets all the gradient. So prototypes start as
centres of k-means, and between rounds those without a vector move to vectors
that are far from all others. Vectors and centres have length one. `valid` is
False for padding, so that `jax.vmap` can run over the concepts.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.prototypes import distance
from protojax.types import ArrayLike

# Below all cosines.
_NEVER = -2.0


def cluster_by_concept(
  vectors: Float[ArrayLike, "n c d"],
  present: Bool[ArrayLike, "n c"],
  count: int,
  iterations: int,
) -> Float[jax.Array, "c m d"]:
  """Centres of each concept's vectors, from the images that show it."""
  start = functools.partial(
    spherical_kmeans, count=count, iterations=iterations
  )
  return jax.jit(jax.vmap(start, in_axes=1))(vectors, present)


def move_unused(
  vectors: Float[ArrayLike, "n c d"],
  present: Bool[ArrayLike, "n c"],
  centres: Float[ArrayLike, "c m d"],
) -> tuple[Float[np.ndarray, "c m d"], int]:
  """Moves the centres that are nearest to no vector: see `farthest_points`.

  Returns:
    All centres, at length one, and the number of those that moved.
  """

  def of_concept(
    vectors: jax.Array, valid: jax.Array, centres: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    centres = distance.direction(centres)
    idle = counts(vectors, valid, centres) == 0
    return farthest_points(vectors, valid, centres, idle), jnp.sum(idle)

  each = jax.jit(jax.vmap(of_concept, in_axes=(1, 1, 0)))
  moved, idle = each(vectors, present, centres)
  return np.asarray(moved), int(idle.sum())


def spherical_kmeans(
  vectors: Float[ArrayLike, "n d"],
  valid: Bool[ArrayLike, " n"],
  count: int,
  iterations: int,
) -> Float[jax.Array, "m d"]:
  """Centres of m clusters by cosine.

  The first centres come from a farthest-point traversal that starts at the
  mean. In an iteration each vector is assigned to its nearest centre, and each
  centre moves to the direction of its vectors' mean. A centre without vectors
  stays.

  Args:
    vectors: of length one.
    valid: False for padding.
    count: m.
    iterations: number of iterations.
  """
  vectors, real = jnp.asarray(vectors), jnp.asarray(valid)[:, None]
  mean = jnp.mean(jnp.where(real, vectors, 0.0), axis=0)
  first = jnp.argmax(_similar(vectors, valid, distance.direction(mean)[None]))
  centres = jnp.tile(vectors[first][None], (count, 1))
  others = jnp.arange(count) > 0
  centres = farthest_points(vectors, valid, centres, others)

  def step(centres: jax.Array, _: None) -> tuple[jax.Array, None]:
    chosen = jax.nn.one_hot(nearest(vectors, centres), count)
    sums = _products(jnp.where(real, chosen, 0.0).T, vectors)
    some = jnp.any(sums != 0, axis=1, keepdims=True)
    return jnp.where(some, distance.direction(sums), centres), None

  centres, _ = jax.lax.scan(step, centres, None, iterations)
  return centres


def farthest_points(
  vectors: Float[ArrayLike, "n d"],
  valid: Bool[ArrayLike, " n"],
  centres: Float[ArrayLike, "m d"],
  moved: Bool[ArrayLike, " m"],
) -> Float[jax.Array, "m d"]:
  """The centres; those marked in `moved` go to the worst covered vectors.

  One after the other, each goes to the vector whose most similar centre is the
  least similar. Centres that stay and those that have moved already count. If
  there is no vector, all stay.
  """
  vectors, centres = jnp.asarray(vectors), jnp.asarray(centres)
  moved = jnp.asarray(moved)
  cosines = _products(vectors, centres.T)
  covered = jnp.max(jnp.where(moved[None], _NEVER, cosines), axis=1)

  def step(
    covered: jax.Array, row: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, jax.Array]:
    centre, moves = row
    # Ties go to the first vector; all tie if no centre stays.
    worst = vectors[jnp.argmin(jnp.where(valid, covered, jnp.inf))]
    centre = jnp.where(moves & jnp.any(valid), worst, centre)
    return jnp.maximum(covered, _products(vectors, centre)), centre

  _, found = jax.lax.scan(step, covered, (centres, moved))
  return found


def nearest(
  vectors: Float[ArrayLike, "n d"], centres: Float[ArrayLike, "m d"]
) -> Int[jax.Array, " n"]:
  """The centre with the largest cosine to each vector."""
  return jnp.argmax(_products(vectors, distance.direction(centres).T), axis=1)


def counts(
  vectors: Float[ArrayLike, "n d"],
  valid: Bool[ArrayLike, " n"],
  centres: Float[ArrayLike, "m d"],
) -> Int[jax.Array, " m"]:
  """Number of vectors that each centre is nearest to."""
  chosen = jax.nn.one_hot(nearest(vectors, centres), len(centres))
  chosen = jnp.where(jnp.asarray(valid)[:, None], chosen, 0.0)
  return jnp.sum(chosen, axis=0).astype(jnp.int32)


def _similar(vectors, valid, centre):
  return jnp.where(valid, _products(vectors, centre.T)[:, 0], _NEVER)


def _products(a, b):
  return jnp.matmul(a, b, precision=distance.PRECISION)
