"""Random starts of methods, sooner than their initialisers compile."""

import jax
import numpy as np

from protojax import parallel


def begun(init, *given):
  """What `init` begins with, on the host: kernels by NumPy, the rest by itself.

  A kernel's variance is one over the numbers that it adds up, as Flax has it.

  Args:
    init: of a method or a network.
    given: what it takes after a key.
  """
  key, rng = parallel.init_key(0), np.random.default_rng(0)
  shapes = jax.eval_shape(init, key, *given)
  leaves, tree = jax.tree.flatten_with_path(shapes)
  drawn = [getattr(path[-1], "key", "") == "kernel" for path, _ in leaves]

  @jax.jit
  def others(key):
    found = jax.tree.leaves(init(key, *given))
    return [x for x, kernel in zip(found, drawn, strict=True) if not kernel]

  rest = iter(parallel.to_host(others(key)))

  def value(leaf, kernel):
    if not kernel:
      return next(rest)
    fan_in = np.prod(leaf.shape[:-1])
    return np.float32(rng.normal(0, fan_in**-0.5, leaf.shape))

  return tree.unflatten(
    [value(x, kernel) for (_, x), kernel in zip(leaves, drawn, strict=True)]
  )
