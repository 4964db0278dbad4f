"""What a step of label diffusion costs, beside its own encoder without it.

python benchmarks/label_diffusion.py [--quick]

A step of the second stage of the digits' config, with both streams: products of
the program as `engine.cost` counts them, loops by their turns, and the
processor time of the process, the median over steps after two that warm up.
"""

from collections.abc import Iterator
import importlib
from pathlib import Path
import statistics
import sys
import time

import jax

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import methods, parallel
from protojax.engine import descent, plan
from protojax.engine.stage import Fit

_CONFIG = "configs.noisy_pseudo_label_diffusion_digits"
_KINDS = {"diffusion": "", "plain": "plain"}
_WARM = 2


def rows(quick: bool) -> Iterator[harness.Row]:
  """A row for each kind."""
  for name, variant in _KINDS.items():
    config = importlib.import_module(_CONFIG).get_config(variant)
    method = methods.load(config)
    planned = plan.of_run(method, config)
    (cost,) = [s.cost for s in planned.stages if s.id.endswith("-both")]
    yield {
      "a step of": name,
      "GFLOP": f"{cost.flops / 1e9:.2f}",
      "processor ms": f"{1000 * _seconds(config, 2 if quick else 20):.0f}",
    }


def _seconds(config, count: int) -> float:
  """Processor seconds of a step."""
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  (fit,) = [
    s for s in method.stages() if isinstance(s, Fit) and s.name == "both"
  ]
  moments, took = fit.optimizer.init(state.params), []
  began = time.process_time()
  updates = descent.fit(fit, state, moments, parallel.key(0))
  for _, update in zip(range(_WARM + count), updates, strict=False):
    jax.block_until_ready(update.metrics)
    took.append(time.process_time() - began)
    began = time.process_time()
  return statistics.median(took[_WARM:])


if __name__ == "__main__":
  parallel.setup()
  print(harness.machine())
  harness.tell(rows("--quick" in sys.argv[1:]))
