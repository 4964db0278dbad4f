"""What a step of label diffusion and of TCSA-UDA costs, beside a plain one.

python benchmarks/dense_steps.py [--quick]

Label diffusion: a step of its second stage on the digits, with both streams,
beside the same encoder and blocks without diffusion. TCSA-UDA: a step of its
second stage on the digits, with parts left out, beside its U-Net on the
source's images alone. Products of the program are counted by `engine.cost`,
loops by their turns; processor time is that of the process, the least over
steps after two that warm up, as what else the machine does only adds to it.
"times" is beside the last row of the same method.
"""

from collections.abc import Iterator
import dataclasses
import importlib
from pathlib import Path
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import methods, parallel
from protojax.engine import descent, plan
from protojax.engine.stage import Fit
from protojax.engine.terms import Aux

_LABELS = "configs.noisy_pseudo_label_diffusion_digits", "both"
_DOMAINS = "configs.tcsa_uda_digits", "adapt"
# Row -> (config and stage, variant, keys, whether the U-Net stands alone).
_KINDS: dict[str, tuple[tuple[str, str], str, dict[str, Any], bool]] = {
  "label diffusion": (_LABELS, "", {}, False),
  "its encoder and blocks alone": (_LABELS, "plain", {}, False),
  "TCSA-UDA": (_DOMAINS, "", {}, False),
  "with selective entropy": (_DOMAINS, "", {"entropy.weight": 0.01}, False),
  "without relations and centres": (_DOMAINS, "adversarial", {}, False),
  "without an adversary, too": (_DOMAINS, "source", {}, False),
  "its U-Net on the source alone": (_DOMAINS, "source", {}, True),
}
_WARM = 2


class _Alone:
  """TCSA-UDA's network learning the source's labels, and nothing else."""

  def __init__(self, method: Any) -> None:
    self._method = method

  def __getattr__(self, name: str) -> Any:
    return getattr(self._method, name)

  def stages(self) -> Iterator[Fit]:
    """The second stage without the target's images."""
    for stage in self._method.stages():
      if not isinstance(stage, Fit) or stage.name != "adapt":
        continue
      objective = stage.loss

      def loss(params: Any, state: Any, batch: Any, now: Any) -> Any:
        del now
        images = jnp.asarray(batch["source"]["image"], jnp.float32)
        labels = jnp.asarray(batch["source"]["mask"])
        network = objective.network  # noqa: B023
        seen, moved = network.see(params, state.statistics, images, True)
        terms = objective.segmentation(seen, labels, len(images))  # noqa: B023
        return terms, Aux(moved, state.memory, {})

      streams = {"source": stage.streams["source"]}
      yield dataclasses.replace(stage, loss=loss, data=streams)


def rows(quick: bool) -> Iterator[harness.Row]:
  """A row for each kind, the plain step of a method behind all others."""
  measured = dict(_measured(quick))
  for name, (flops, seconds) in measured.items():
    method = _KINDS[name][0]
    plain = [n for n, kind in _KINDS.items() if kind[0] == method][-1]
    yield {
      "a step of": name,
      "GFLOP": f"{flops / 1e9:.2f}",
      "processor ms": f"{1000 * seconds:.0f}",
      "times": f"{seconds / measured[plain][1]:.2f}",
    }


def _measured(quick: bool) -> Iterator[tuple[str, tuple[float, float]]]:
  """Operations and seconds of a step of each kind."""
  for name, ((module, stage), variant, keys, alone) in _KINDS.items():
    config = importlib.import_module(module).get_config(variant).unlock()
    config.update_from_flattened_dict(keys)

    def load(config: Any = config, alone: bool = alone) -> Any:
      method = methods.load(config)
      return _Alone(method) if alone else method

    planned = plan.of_run(load(), config)
    (cost,) = [s.cost for s in planned.stages if s.id.endswith(f"-{stage}")]
    yield name, (cost.flops, _seconds(load(), stage, 2 if quick else 20))


def _seconds(method: Any, name: str, count: int) -> float:
  """Processor seconds of a step of a stage."""
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  (fit,) = [s for s in method.stages() if isinstance(s, Fit) and s.name == name]
  moments, took = fit.optimizer.init(state.params), []
  began = time.process_time()
  updates = descent.fit(fit, state, moments, parallel.key(0))
  for _, update in zip(range(_WARM + count), updates, strict=False):
    jax.block_until_ready(update.metrics)
    took.append(time.process_time() - began)
    began = time.process_time()
  return min(took[_WARM:])


if __name__ == "__main__":
  parallel.setup()
  print(harness.machine())
  harness.tell(rows("--quick" in sys.argv[1:]))
