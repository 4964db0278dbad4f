"""Distance of every patch of a feature map to every prototype.

First step of the forward path: features -> distances. `pooling` gives the
nearest patch only; whole maps are for pictures and for tests.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.layers.conv import on_cpu
from protojax.types import ArrayLike

# With TF32 or bf16 products the log similarity of a patch to itself is 5.8 or
# 3.8, not 9.2.
PRECISION = jax.lax.Precision.HIGHEST

# Below this squared length a vector has no direction.
_TINY = 1e-12

# Numbers that a core of a CPU adds at once.
_LANES = 8


def patches(
  features: Float[ArrayLike, "b h w d"], height: int = 1, width: int = 1
) -> Float[jax.Array, "b rows columns e"]:
  """All windows of a map with the size of a prototype, each as one vector.

  Only windows inside the map count (a VALID convolution), so `rows` is
  h - height + 1 and `columns` is w - width + 1. A window is read row by row,
  channels innermost: the order of `prototypes.reshape(p, -1)`.
  """
  features = jnp.asarray(features, jnp.float32)
  rows = features.shape[1] - height + 1
  columns = features.shape[2] - width + 1
  shifted = [
    features[:, top : top + rows, left : left + columns]
    for top in range(height)
    for left in range(width)
  ]
  return jnp.concatenate(shifted, axis=-1)


def squared_l2(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
) -> Float[jax.Array, "b rows columns p"]:
  """Squared Euclidean distance (ProtoPNet, section 2.1), clipped at 0.

  Expanded as |z|² - 2 z·p + |p|², so that the products are one matmul;
  clipped because rounding can take it below zero, where the log similarity
  is undefined.
  """
  cells, flat = _flat(features, prototypes)
  cell_norms = summed(cells**2)[..., None]
  norms = summed(flat**2)[None, None, None]
  return jnp.maximum(cell_norms - 2 * _products(cells, flat) + norms, 0.0)


def cosine(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
) -> Float[jax.Array, "b rows columns p"]:
  """Cosine distance 1 - cos, in [0, 2]; 1 for a vector of length zero."""
  cells, flat = _flat(features, prototypes)
  return 1.0 - _products(direction(cells), direction(flat))


def projection(
  features: Float[ArrayLike, "b h w d"],
  prototypes: Float[ArrayLike, "p h1 w1 d"],
) -> Float[jax.Array, "b rows columns p"]:
  """Minus the inner product: smallest for the longest patch along p."""
  return -_products(*_flat(features, prototypes))


def direction(vectors: Float[ArrayLike, "*n e"]) -> Float[jax.Array, "*n e"]:
  """Vectors at length one; zeros stay zeros, with finite gradients."""
  vectors = jnp.asarray(vectors)
  squared = summed(vectors**2)[..., None]
  return vectors * jax.lax.rsqrt(jnp.maximum(squared, _TINY))


def summed(values: Float[ArrayLike, "*n e"]) -> Float[jax.Array, "*n"]:
  """Sum over the last axis."""
  values = jnp.asarray(values)
  *shape, length = values.shape
  if not on_cpu() or length % _LANES:
    return jnp.sum(values, axis=-1)
  # On CPU XLA adds along the last axis number by number, four times as slow. So
  # lanes are summed first; without the barrier XLA would make one sum of both.
  lanes = jnp.reshape(values, (*shape, length // _LANES, _LANES))
  lanes = jax.lax.optimization_barrier(jnp.sum(lanes, axis=-2))
  return jnp.sum(lanes, axis=-1)


def _flat(features, prototypes):
  prototypes = jnp.asarray(prototypes, jnp.float32)
  count, height, width, _ = prototypes.shape
  return patches(features, height, width), prototypes.reshape(count, -1)


def _products(cells, flat):
  return jnp.einsum("bhwe,pe->bhwp", cells, flat, precision=PRECISION)
