"""Loss terms on the angles between prototypes, within and between classes.

Prototypes are given by class [k m e], m for each of k classes, at length one,
so that their products are cosines. Each term is one value for all examples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.types import ArrayLike

_PRECISION = jax.lax.Precision.HIGHEST

# Products of some classes with all others are held at once, up to so many
# bytes: those of all 20 000 prototypes would take 1.6 GB.
_BLOCK_BYTES = 4 * 2**20


def orthogonality(
  prototypes: Float[ArrayLike, "k m e"],
) -> Float[jax.Array, ""]:
  """sum over c of |P_c P_c^T - I|_1, the absolute sum of the entries.

  0 if and only if the prototypes of each class are orthonormal. A sum, not a
  mean, so it grows with the number of classes (ST-ProtoPNet, L_orth; TesNet).
  """
  products = jnp.einsum(
    "kme,kne->kmn", prototypes, prototypes, precision=_PRECISION
  )
  return jnp.sum(jnp.abs(products - jnp.eye(products.shape[-1])[None]))


def discrimination(
  prototypes: Float[ArrayLike, "k m e"],
) -> Float[jax.Array, ""]:
  """Mean over ordered pairs c != c' of max over m, n of p_cm . p_c'n.

  Small if even the most similar prototypes of two classes are far apart.
  Trivial prototypes are trained with it (ST-ProtoPNet, L_dsc).
  """
  return _mean_of_pairs(prototypes, jnp.max)


def closeness(prototypes: Float[ArrayLike, "k m e"]) -> Float[jax.Array, ""]:
  """-1 times the mean over pairs c != c' of min over m, n of p_cm . p_c'n.

  Small if even the least similar prototypes of two classes are close. Support
  prototypes are trained with it (ST-ProtoPNet, L_cls).
  """
  return -_mean_of_pairs(prototypes, jnp.min)


def _mean_of_pairs(
  prototypes: Float[ArrayLike, "k m e"], reduce: Callable[..., jax.Array]
) -> Float[jax.Array, ""]:
  """Mean over ordered pairs of classes of the reduced products; 0 for k = 1."""
  prototypes = jnp.asarray(prototypes)
  classes, each, _ = prototypes.shape

  # Products are computed again in the backward pass.
  @jax.checkpoint
  def row(own: jax.Array) -> jax.Array:
    products = jnp.einsum("me,kne->mkn", own, prototypes, precision=_PRECISION)
    return reduce(products, axis=(0, 2))

  block = max(1, _BLOCK_BYTES // (4 * classes * each**2))
  pairs = jax.lax.map(row, prototypes, batch_size=min(block, classes))
  others = ~jnp.eye(classes, dtype=bool)
  count = max(1, classes * (classes - 1))
  return jnp.sum(jnp.where(others, pairs, 0.0)) / count
