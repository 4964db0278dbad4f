"""The diversity of ScaleProtoSeg's prototypes, beside loops over its pairs.

python benchmarks/diversity.py [--classes K] [--cells N] [--images B]

Loss and gradient by the distances, at the size of Cityscapes: maps of 65 x 65
cells, 4 scales, 3 prototypes of each of 19 classes. The loops over images,
classes, scales and pairs are those of the authors' code, in plain JAX. Wall
time and processor time are the least of some repeats, in turns.
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
from protojax.methods.scaleprotoseg import losses

_REPEATS = 3
_SCALES, _EACH = 4, 3


def _product(values: jax.Array, labels: np.ndarray) -> jax.Array:
  alive = jnp.ones(values.shape[2:], bool)
  found = losses.diversity(values, jnp.asarray(labels), alive)
  return found.total / found.count


def _loops(values: jax.Array, labels: np.ndarray) -> jax.Array:
  terms = []
  for image, own in zip(values, labels, strict=True):
    for k in np.unique(own):
      places = np.flatnonzero(own == k)
      if len(places) < 2:
        continue
      for s in range(_SCALES):
        maps = jax.nn.log_softmax(image[places, s, k], axis=0).T
        for i in range(_EACH):
          for j in range(i + 1, _EACH):
            a, b = maps[i], maps[j]
            apart = jnp.sum((jnp.exp(a) - jnp.exp(b)) * (a - b)) / 2
            terms.append(jnp.exp(-apart))
  return jnp.mean(jnp.stack(terms))


def _timed(function: Callable, *arguments) -> tuple[float, float]:
  wall, own = time.perf_counter(), time.process_time()
  jax.block_until_ready(function(*arguments))
  return time.perf_counter() - wall, time.process_time() - own


def main() -> None:
  """Prints a table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--classes", type=int, default=19, metavar="K")
  parser.add_argument("--cells", type=int, default=65 * 65, metavar="N")
  parser.add_argument("--images", type=int, default=2, metavar="B")
  args = parser.parse_args()
  parallel.setup()
  rng = np.random.default_rng(0)
  shape = args.images, args.cells, _SCALES, args.classes, _EACH
  values = jnp.asarray(rng.uniform(0, 8, shape), jnp.float32)
  labels = rng.integers(0, args.classes, shape[:2]).astype(np.int32)
  product = jax.jit(jax.value_and_grad(lambda v: _product(v, labels)))
  loops = jax.value_and_grad(lambda v: _loops(v, labels))
  ways = {"one product": product, "loops": loops}
  results = {name: way(values) for name, way in ways.items()}
  (a, da), (b, db) = results.values()
  apart = float(jnp.max(jnp.abs(da - db)) / jnp.max(jnp.abs(db)))
  print(f"loss {a:.6f} and {b:.6f}; gradients differ by {apart:.1e}")
  found: dict[str, list] = {name: [] for name in ways}
  for _ in range(_REPEATS):
    for name, way in ways.items():
      found[name].append(_timed(way, values))
  least = {
    name: tuple(map(min, zip(*x, strict=True))) for name, x in found.items()
  }
  first = least["one product"]
  harness.tell(
    {
      "loss and gradient": name,
      "wall, ms": f"{1e3 * wall:.1f}",
      "processor, ms": f"{1e3 * own:.1f}",
      "processor, ratio": f"{own / first[1]:.1f}",
    }
    for name, (wall, own) in least.items()
  )


if __name__ == "__main__":
  main()
