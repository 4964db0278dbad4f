"""Wrong pseudo-labels on purpose, for experiments: flipped and moved.

A map is divided into connected regions, the cells nearest to each of some
random points. In a share of the regions every class is exchanged for another
one, and in as many the classes are taken from the cell beside, so that the
edges there move by one cell.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Key

from protojax.types import Array, ArrayLike


def corrupted(
  labels: Int[ArrayLike, "b h w"],
  keys: Key[Array, " b"],
  rate: Float[ArrayLike, ""] | float,
  regions: int,
  classes: int,
) -> Int[Array, "b h w"]:
  """The labels, some of them wrong.

  Args:
    labels: 0 .. classes - 1.
    keys: of each map.
    rate: the share of the regions that is flipped, 0..1.
    regions: that a map is divided into.
    classes: k.
  """
  labels = jnp.asarray(labels)

  def one(plane: Array, key: Array) -> Array:
    keys = jax.random.split(key, 5)
    region = _regions(keys[0], plane.shape, regions)
    moved = jax.random.bernoulli(keys[1], rate, (regions,))
    steps = jax.random.randint(keys[2], (regions, 2), -1, 2)
    y, x = jnp.indices(plane.shape)
    by = jnp.where(moved[:, None], steps, 0)[region]
    y = jnp.clip(y + by[..., 0], 0, plane.shape[0] - 1)
    x = jnp.clip(x + by[..., 1], 0, plane.shape[1] - 1)
    flipped = jax.random.bernoulli(keys[3], rate, (regions,))
    other = jax.random.randint(keys[4], (regions,), 1, classes)
    turned = jnp.where(flipped, other, 0)[region]
    return (plane[y, x] + turned) % classes

  return jax.vmap(one)(labels, keys)


def _regions(
  key: Array, shape: tuple[int, ...], count: int
) -> Int[Array, "h w"]:
  """The number of the random point that is nearest to each cell."""
  size = jnp.array(shape, jnp.float32)
  points = jax.random.uniform(key, (count, 2)) * size[None]
  at = jnp.stack(jnp.indices(shape), axis=-1) + 0.5
  far = jnp.sum((at[:, :, None] - points[None, None]) ** 2, axis=-1)
  return jnp.argmin(far, axis=-1)
