"""Keys of randomness, such that a run does not depend on its devices."""

import jax
import jax.numpy as jnp

from protojax.types import ArrayLike


def example_keys(key: jax.Array, index: ArrayLike) -> jax.Array:
  """One key per example from its global index: `[b]`.

  The noise an example meets does not depend on which device it lies on.
  """
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(index))


def init_key(seed: int) -> jax.Array:
  """The key of random weights: rbg, which compiles in a tenth of the time."""
  return jax.random.key(seed, impl="rbg")


def key(seed: int) -> jax.Array:
  """The root key of a run.

  Threefry, because rbg keys give other bits under vmap than one by one, and
  then a run would depend on the number of devices.
  """
  return jax.random.key(seed, impl="threefry2x32")
