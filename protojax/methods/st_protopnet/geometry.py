"""Loss terms on where the prototypes of the classes stand to one another.

Prototypes come by class, [k m e]: m for each of k classes, all of length one,
so that their products are cosines. Each term is one value for all examples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import ArrayLike

_PRECISION = jax.lax.Precision.HIGHEST

# Products of as many classes with all others as fit in here are held at once:
# all at once, 20 000 prototypes would take 1.6 GB.
_BLOCK_BYTES = 4 * 2**20


def orthogonality(
  prototypes: Float[ArrayLike, "k m e"],
) -> Float[jax.Array, ""]:
  """sum over c of |P_c P_c^T - I|_1, the absolute sum of the entries.

  0 if and only if the prototypes of each class are orthonormal. A sum, not a
  mean: a term that is weighted like it in another paper grows with the number
  of classes (ST-ProtoPNet, L_orth; TesNet).
  """
  products = jnp.einsum(
    "kme,kne->kmn", prototypes, prototypes, precision=_PRECISION
  )
  return jnp.sum(jnp.abs(products - jnp.eye(products.shape[-1])[None]))


def discrimination(
  prototypes: Float[ArrayLike, "k m e"],
) -> Float[jax.Array, ""]:
  """Mean over ordered pairs c != c' of max over m, n of p_cm . p_c'n.

  Small where even the most similar prototypes of two classes are apart: what
  trivial prototypes are trained for (ST-ProtoPNet, L_dsc).
  """
  return _mean_of_pairs(prototypes, jnp.max)


def closeness(prototypes: Float[ArrayLike, "k m e"]) -> Float[jax.Array, ""]:
  """-1 times the mean over pairs c != c' of min over m, n of p_cm . p_c'n.

  Small where even the least similar prototypes of two classes are close: what
  support prototypes are trained for (ST-ProtoPNet, L_cls).
  """
  return -_mean_of_pairs(prototypes, jnp.min)


def _mean_of_pairs(
  prototypes: Float[ArrayLike, "k m e"], reduce: Callable[..., jax.Array]
) -> Float[jax.Array, ""]:
  """Mean over ordered pairs of classes of the reduced products; 0 of one."""
  prototypes = jnp.asarray(prototypes)
  classes, each, _ = prototypes.shape

  # Products are made again in the backward pass.
  @jax.checkpoint
  def row(own: jax.Array) -> jax.Array:
    products = jnp.einsum("me,kne->mkn", own, prototypes, precision=_PRECISION)
    return reduce(products, axis=(0, 2))

  block = max(1, _BLOCK_BYTES // (4 * classes * each**2))
  pairs = jax.lax.map(row, prototypes, batch_size=min(block, classes))
  others = ~jnp.eye(classes, dtype=bool)
  count = max(1, classes * (classes - 1))
  return jnp.sum(jnp.where(others, pairs, 0.0)) / count
