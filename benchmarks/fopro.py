"""FoPro's speed: the relation module, and a step of the last stage.

python benchmarks/fopro.py relation
python benchmarks/fopro.py step
python benchmarks/fopro.py operations

relation: scores of a batch and 1,000 class prototypes, factored and with all
pairs written out as in the authors' code. step: of FoPro and of plain training
on the embedded digits, in seconds of the processor, with what varies the
images. Each is measured in turns with the other; the table has medians and
ratios to the first. operations: what both steps do, as XLA counts
it; nothing is run.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, planned
from configs import fopro_digits, fopro_folder
from protojax import methods, parallel
from protojax.engine import descent
from protojax.methods.fopro import relation

_BATCH, _CLASSES, _CHANNELS = 64, 1000, 128
# That are timed at once: images of later ones are made meanwhile.
_STEPS = 20


def _tiled(params: Any, rows: jax.Array, prototypes: jax.Array) -> jax.Array:
  pairs = jnp.concatenate(
    [
      jnp.repeat(rows, len(prototypes), axis=0),
      jnp.tile(prototypes, (len(rows), 1)),
    ],
    axis=1,
  )
  first = jnp.concatenate([params["image"], params["prototype"]])
  hidden = jax.nn.relu(jnp.matmul(pairs, first, precision="highest"))
  found = jnp.matmul(hidden, params["out"], precision="highest")
  return found.reshape(len(rows), -1)


def relations(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Factored against tiled."""
  del args
  keys = jax.random.split(jax.random.key(0), 3)
  params = relation.init(keys[0], _CHANNELS, _CHANNELS)
  rows = jax.random.normal(keys[1], (_BATCH, _CHANNELS))
  prototypes = jax.random.normal(keys[2], (_CLASSES, _CHANNELS))
  each: dict[str, Callable[..., Any]] = {
    "factored": jax.jit(relation.scores),
    "all pairs": jax.jit(_tiled),
  }
  runs = {
    name: harness.calls(function, params, rows, prototypes)
    for name, function in each.items()
  }
  yield from harness.in_turns(runs, _BATCH)


def steps(args: argparse.Namespace) -> Iterator[harness.Row]:
  """A step of the last stage against one of cross entropy."""
  del args
  runs, config = {}, fopro_digits.get_config().unlock()
  for name, baseline in (("plain", "plain"), ("FoPro", "")):
    config = config.copy_and_resolve_references()
    config.baseline = baseline
    runs[name] = _steps(methods.load(config), baseline or "clean")
  yield from harness.in_turns(runs, config.batch_size)


def operations(args: argparse.Namespace) -> Iterator[harness.Row]:
  """Operations of a step of the last stage and of one of cross entropy."""
  del args
  for module, variants in (
    (fopro_digits, ""),
    (fopro_folder, ""),
    (fopro_folder, "fine"),
    (fopro_folder, "large"),
  ):
    flops = {}
    for stage, baseline in (("plain", "plain"), ("clean", "")):
      changes = {"baseline": baseline}
      config = planned.untrained(harness.changed(module, variants, 0, changes))
      method = planned.load(config)
      fit = next(s for s in method.stages() if s.name.startswith(stage))
      flops[stage] = planned.of_step(method, fit).flops
    name = f"{module.__name__.rpartition('.')[2]}:{variants}".rstrip(":")
    yield {
      "row": name,
      "plain, GFLOP": _of_three(flops["plain"] / 1e9),
      "FoPro, GFLOP": _of_three(flops["clean"] / 1e9),
      "ratio": round(flops["clean"] / flops["plain"], 2),
    }


def _of_three(number: float) -> str:
  """With three digits that count, such as "31,000"."""
  return f"{float(f'{number:.3g}'):,g}"


def _steps(method: Any, stage: str) -> Iterator[float]:
  """Seconds of the processor for a step of a stage, the mean of some."""
  fit = next(s for s in method.stages() if s.name == stage)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  moments = fit.optimizer.init(state.params)
  updates = descent.fit(fit, state, moments, parallel.key(0))
  while True:
    began = time.process_time()
    for _ in range(_STEPS):
      jax.block_until_ready(next(updates).metrics)
    yield (time.process_time() - began) / _STEPS


if __name__ == "__main__":
  made = {"relation": relations, "step": steps, "operations": operations}
  harness.main(__doc__, made, "nothing")
