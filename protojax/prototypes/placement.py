"""The placement of a bank: local on each device, or sharded over all of them.

With a sharded bank each of N devices holds P / N of the P prototypes and their
columns of the head, and compares them with the images of all devices. Sums and
minima over the devices then give each image's logits and nearest prototypes.
A network and its loss are written once, for both: they call the methods of
`Local` or of `Sharded`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax import parallel
from protojax.types import PyTree

# Values of this device's own images, and whether there is one. (A device with a
# sharded bank compares its prototypes with other devices' images, too.)
Smallest = tuple[Float[jax.Array, " c"], Bool[jax.Array, " c"]]


@dataclasses.dataclass(frozen=True)
class Local:
  """Every device holds all prototypes, and compares them with its own images.

  Attributes:
    sharding: names of the state's sharded arrays: none.
  """

  sharding: ClassVar[parallel.Sharding] = parallel.LOCAL

  @property
  def shards(self) -> int:
    """Number of shards: one."""
    return 1

  def meet(self, tree: PyTree) -> PyTree:
    """Rows `[b, ...]` of the images that this device's prototypes see."""
    return tree

  def logits(self, sums: Float[jax.Array, "b k"]) -> Float[jax.Array, "b k"]:
    """Logits of this device's images, from the sums over its prototypes."""
    return sums

  def smallest(
    self, values: Float[jax.Array, " b"], valid: Bool[jax.Array, " b"]
  ) -> Smallest:
    """The smallest value over all prototypes.

    Args:
      values: smallest of each image in `meet` over this device's prototypes.
      valid: False for an image without a value.

    Returns:
      Of this device's images: the values, 0 where there is none; and whether
      there is one. The gradient goes to the first of equally small values.
    """
    return values, valid

  def total(self, x: Float[jax.Array, ""]) -> Float[jax.Array, ""]:
    """The sum over all prototypes, from the sum over this device's."""
    return x


LOCAL = Local()


@dataclasses.dataclass(frozen=True)
class Sharded:
  """Every device holds some prototypes, and compares them with all images.

  Only inside mapped steps. See `Local` for the methods.

  Attributes:
    sharding: names of the state's sharded arrays -> their axis of prototypes.
  """

  sharding: ClassVar[parallel.Sharding] = {
    "prototypes.prototypes": 0,
    "head.weight": 1,
    "head.own": 0,
    "buffers.class_of": 0,
    "buffers.alive": 0,
  }

  @property
  def shards(self) -> int:
    """Number of shards: one for each device."""
    return parallel.device_count()

  def meet(self, tree: PyTree) -> PyTree:
    """Rows of the images of all devices: `[b', ...] -> [b, ...]`."""
    return parallel.gather(tree)

  def logits(self, sums: Float[jax.Array, "b k"]) -> Float[jax.Array, "c k"]:
    """Logits of this device's images, summed over the devices."""
    return parallel.scatter_sum(sums)

  def smallest(
    self, values: Float[jax.Array, " b"], valid: Bool[jax.Array, " b"]
  ) -> Smallest:
    """The smallest values of this device's images over the devices."""
    found = parallel.exchange(jnp.where(valid, values, jnp.inf))
    first = jnp.argmin(found, axis=0)[None]
    nearest = jnp.take_along_axis(found, first, axis=0)[0]
    there = nearest != jnp.inf
    return jnp.where(there, nearest, 0.0), there

  def total(self, x: Float[jax.Array, ""]) -> Float[jax.Array, ""]:
    """The sum over the devices."""
    return parallel.psum(x)
