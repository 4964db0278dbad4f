"""Random keys that make a run independent of the number of devices."""

import jax
import jax.numpy as jnp

from protojax.types import ArrayLike

_IMPL = "threefry2x32"


def example_keys(
  key: jax.Array, index: ArrayLike, draw: ArrayLike | None = None
) -> jax.Array:
  """One key per example, from its position in the source: `[b]`.

  So the noise of an example does not depend on its device.

  Args:
    key: of the step.
    index: positions of the examples, "index" of a batch.
    draw: "draw" of a batch, which tells an example that comes several times in
      it from itself; None if the batch has none.
  """
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(index))
  if draw is None:
    return keys
  return jax.vmap(jax.random.fold_in)(keys, jnp.asarray(draw))


def init_key(seed: int) -> jax.Array:
  """The key of random weights: rbg, which compiles in a tenth of the time."""
  return jax.random.key(seed, impl="rbg")


def key(seed: int) -> jax.Array:
  """The root key of a run.

  Threefry: rbg keys give other bits under vmap than one by one, so a run would
  depend on the number of devices.
  """
  return jax.random.key(seed, impl=_IMPL)


def key_of(data: ArrayLike) -> jax.Array:
  """The key with these bits (`jax.random.key_data`)."""
  return jax.random.wrap_key_data(jnp.asarray(data), impl=_IMPL)
