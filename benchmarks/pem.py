"""PEM's cross-attention beside Mask2Former's, over the number of tokens.

python benchmarks/pem.py [--quick]

One layer, 100 queries, 256 channels and 8 heads, an image, forward: processor
time, which counts no waiting on busy cores, and the operations that XLA counts
in the compiled program; of PEM-CA, in the one that compares all tokens at a
time, since XLA counts a loop once. A token is in the mask of a query or not,
half of each.
"""

from collections.abc import Iterator
import functools
from pathlib import Path
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax.methods.pem import attention

_QUERIES, _CHANNELS, _HEADS = 100, 256, 8
_SIDES = 16, 32, 64, 128
_RUNS = 7


def rows(quick: bool) -> Iterator[harness.Row]:
  """A row for each number of tokens."""
  for side in _SIDES[:2] if quick else _SIDES:
    found = {
      name: _measured(module, side)
      for name, module in (
        ("PEM-CA", attention.Picking(_HEADS)),
        ("full", attention.Masked(_HEADS)),
      )
    }
    row: dict[str, Any] = {"tokens": side**2}
    for name, (seconds, operations) in found.items():
      row[f"{name}, ms"] = f"{1000 * seconds:.2f}"
      row[f"{name}, GFLOP"] = f"{operations / 1e9:.3f}"
    yield row


def _measured(module: Any, side: int) -> tuple[float, float]:
  """Median processor time of a pass in seconds, and operations as compiled."""
  rng = np.random.default_rng(0)

  def drawn(*shape: int) -> jax.Array:
    return jnp.float32(rng.normal(size=shape))

  given = (
    drawn(1, _QUERIES, _CHANNELS),
    drawn(_QUERIES, _CHANNELS),
    drawn(1, side, side, _CHANNELS),
    drawn(side, side, _CHANNELS),
    jnp.asarray(rng.uniform(size=(1, _QUERIES, side**2)) < 0.5),
  )
  key = jax.random.key(0)
  shapes = jax.eval_shape(lambda: module.init(key, *given, False, key))
  variables = jax.tree.map(
    lambda x: jnp.float32(rng.normal(scale=0.05, size=x.shape)), shapes
  )
  stats = variables.get("batch_stats")
  if stats is not None:
    variables["batch_stats"] = jax.tree.map(jnp.ones_like, stats)

  def layer(module: Any, variables: Any, *given: Any) -> jax.Array:
    return module.apply(variables, *given, False, key)[0]

  whole = module
  if isinstance(module, attention.Picking):
    whole = module.clone(chunk=side**2)
  programs = (
    jax.jit(functools.partial(layer, one)).lower(variables, *given).compile()
    for one in (module, whole)
  )
  compiled, counted = programs
  jax.block_until_ready(compiled(variables, *given))
  took = []
  for _ in range(_RUNS):
    began = time.process_time()
    jax.block_until_ready(compiled(variables, *given))
    took.append(time.process_time() - began)
  return statistics.median(took), counted.cost_analysis()["flops"]


if __name__ == "__main__":
  print(harness.machine())
  harness.tell(rows("--quick" in sys.argv[1:]))
