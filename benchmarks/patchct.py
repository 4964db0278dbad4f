"""Conditional transport beside Sinkhorn's iterations, and a step of PatchCT.

python benchmarks/patchct.py [--patches N] [--labels N] [--images N]

Costs of both directions and their gradient by the similarities, against
entropic optimal transport of the same sets by 100 iterations in log space, at
the size of an image of 448 pixels and the labels of MS-COCO. Wall time and
processor time are the least of some repeats, in turns.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import parallel
from protojax.methods.patchct import transport

_REPEATS = 5
_ITERATIONS = 100
_TEMPERATURE = 0.1


def sets(
  images: int, patches: int, labels: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Random similarities [b n k], masses of labels [b k] and patches [b n]."""
  rng = np.random.default_rng(0)
  s = jnp.asarray(np.tanh(rng.normal(size=(images, patches, labels))))
  held = np.zeros((images, labels), np.int32)
  held[:, :4] = 1
  theta = jnp.full((images, patches), 1 / patches)
  return s.astype(jnp.float32), transport.masses(held), theta


def transported(s: jax.Array, beta: jax.Array, theta: jax.Array) -> jax.Array:
  """Costs of both directions, added up."""
  found = transport.costs(s, beta, theta, jnp.float32(_TEMPERATURE))
  return jnp.sum(found.forward + found.backward) / 2


def sinkhorn(s: jax.Array, beta: jax.Array, theta: jax.Array) -> jax.Array:
  """Entropic optimal transport (Cuturi, 2013), in log space."""
  scaled = (s - 1) / _TEMPERATURE
  a, b = jnp.log(theta), transport.log_masses(beta)

  def step(_, potentials):
    f, g = potentials
    f = a - jax.nn.logsumexp(scaled + g[:, None], axis=2)
    g = b - jax.nn.logsumexp(scaled + f[..., None], axis=1)
    return f, g

  start = jnp.zeros_like(a), jnp.zeros_like(b)
  f, g = jax.lax.fori_loop(0, _ITERATIONS, step, start)
  # The envelope theorem: the gradient is that of the cost under a fixed plan.
  plan = jax.lax.stop_gradient(jnp.exp(scaled + f[..., None] + g[:, None]))
  return jnp.sum(plan * (1 - s))


def _timed(function: Callable, *arguments) -> tuple[float, float]:
  wall, own = time.perf_counter(), time.process_time()
  jax.block_until_ready(function(*arguments))
  return time.perf_counter() - wall, time.process_time() - own


def main() -> None:
  """Prints a row for each."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--patches", type=int, default=784)
  parser.add_argument("--labels", type=int, default=80)
  parser.add_argument("--images", type=int, default=16)
  args = parser.parse_args()
  parallel.setup()
  given = sets(args.images, args.patches, args.labels)
  steps = {
    "conditional transport": jax.jit(jax.value_and_grad(transported)),
    f"Sinkhorn, {_ITERATIONS} iterations": jax.jit(
      jax.value_and_grad(sinkhorn)
    ),
  }
  for step in steps.values():
    jax.block_until_ready(step(*given))
  times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
  for _ in range(_REPEATS):
    for name, step in steps.items():
      times[name].append(_timed(step, *given))
  best = {name: np.min(of, axis=0) * 1e3 for name, of in times.items()}
  first = next(iter(best.values()))
  harness.tell(
    {
      "costs and gradient": name,
      "wall, ms": f"{wall:.1f}",
      "processor, ms": f"{own:.1f}",
      "processor, of the first": f"{own / first[1]:.1f}",
    }
    for name, (wall, own) in best.items()
  )


if __name__ == "__main__":
  main()
