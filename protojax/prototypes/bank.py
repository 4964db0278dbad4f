"""The bank of prototypes: local on each device, or sharded over all of them.

Sharded, each of N devices holds P / N of the P prototypes and their columns of
the head. It compares them with the features of all devices' images; sums and
minima over the devices then make each image's logits and nearest prototypes.
A network and its loss are written once, for either: they call the methods of
`Local` or of `Sharded`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from protojax import parallel
from protojax.types import ArrayLike, PyTree, State

# Of this device's images, which are fewer than it meets where the bank is
# sharded.
Smallest = tuple[Float[jax.Array, " c"], Bool[jax.Array, " c"]]


def vectors(state: State) -> Float[ArrayLike, "p h1 w1 d"]:
  """The vectors of all prototypes of a state."""
  return state.params["prototypes"]["prototypes"]


def with_vectors(state: State, found: Float[ArrayLike, "p h1 w1 d"]) -> State:
  """The state with other vectors of its prototypes."""
  params = {**state.params, "prototypes": {"prototypes": found}}
  return state.replace(params=params)


@dataclasses.dataclass(frozen=True)
class Local:
  """Every device holds all prototypes, and compares them with its own images.

  Attributes:
    sharding: names of the state's sharded arrays: none.
  """

  sharding: ClassVar[parallel.Sharding] = parallel.LOCAL

  @property
  def shards(self) -> int:
    """In how many shards it is held."""
    return 1

  def meet(self, tree: PyTree) -> PyTree:
    """Rows `[b, ...]` of the images that this device's prototypes meet."""
    return tree

  def logits(self, sums: Float[jax.Array, "b k"]) -> Float[jax.Array, "b k"]:
    """Logits of this device's images, from the sums over its prototypes."""
    return sums

  def smallest(
    self, values: Float[jax.Array, " b"], valid: Bool[jax.Array, " b"]
  ) -> Smallest:
    """The smallest over all prototypes, from the smallest over this device's.

    Args:
      values: of the images met.
      valid: False where there is none.

    Returns:
      Values, 0 where there is none, and where there is one, of this device's
      images. Of equally small ones the gradient goes to the first.
    """
    return values, valid

  def total(self, x: Float[jax.Array, ""]) -> Float[jax.Array, ""]:
    """The sum over all prototypes, from the sum over this device's."""
    return x


LOCAL = Local()


@dataclasses.dataclass(frozen=True)
class Sharded:
  """Every device holds some prototypes, and compares them with all images.

  For mapped steps alone. See `Local` for the methods.

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
    """As many as there are devices."""
    return parallel.device_count()

  def meet(self, tree: PyTree) -> PyTree:
    """Rows of the images of all devices: `[b', ...] -> [b, ...]`."""
    return parallel.gather(tree)

  def logits(self, sums: Float[jax.Array, "b k"]) -> Float[jax.Array, "c k"]:
    """Added over the devices, of this one's images."""
    return parallel.scatter_sum(sums)

  def smallest(
    self, values: Float[jax.Array, " b"], valid: Bool[jax.Array, " b"]
  ) -> Smallest:
    """The smallest over the devices, of this one's images."""
    found = parallel.exchange(jnp.where(valid, values, jnp.inf))
    first = jnp.argmin(found, axis=0)[None]
    nearest = jnp.take_along_axis(found, first, axis=0)[0]
    there = nearest != jnp.inf
    return jnp.where(there, nearest, 0.0), there

  def total(self, x: Float[jax.Array, ""]) -> Float[jax.Array, ""]:
    """Added over the devices."""
    return parallel.psum(x)
