"""Random starts of methods, sooner than their initialisers compile."""

import jax
import numpy as np

from protojax import methods, parallel
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.types import State


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


def averaged(method):
  """A state of a model that images are drawn with: all weights are random."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  weights = jax.tree.map(
    lambda x: np.float32(0.1 * rng.normal(size=x.shape)), shapes.params
  )
  return State(weights, {}, {}, {"average": weights})


def ended(folder, method, state):
  """The folder as a run that has ended with a state; gives it."""
  workdir.claim(folder, method.config, methods.later)
  workdir.claim_classes(folder, method.dataset.class_names)
  checkpoints = Checkpoints(folder)
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  return folder
