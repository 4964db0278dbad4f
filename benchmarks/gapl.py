"""A step that trains adapters beside one that trains the whole encoder.

python benchmarks/gapl.py [--backbone NAME] [--images N]

Both have GAPL's projection and classifier behind the encoder and AdamW;
adapters have rank 16 on queries, keys and values. "Trained" are the bytes of
what is trained, its gradient and two moments; "beside" is what the compiled
step holds beside its arguments and results. Times are the least of some
repeats, in turns.
"""

import argparse
from collections.abc import Callable
import functools
from pathlib import Path
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import backbones, parallel
from protojax.methods.gapl.network import Adapters, Network, entropy

_REPEATS = 3
_CHANNELS, _RANK, _ALPHA = 128, 16, 32.0


def _vectors(network: Network, trained: Any, frozen: Any, images: Any) -> Any:
  if network.adapted is None:
    return network.vectors(trained["encoder"], images)
  with network.adapted.applied(trained["adapters"]):
    return network.vectors(frozen, images)


def _step(
  network: Network, rule: Any, trained: Any, moments: Any, *batch: Any
) -> Any:
  """A step; `batch` is the frozen encoder, images and labels."""
  frozen, images, labels = batch

  def loss(trained: Any) -> jax.Array:
    vectors = _vectors(network, trained, frozen, images)
    return jnp.mean(entropy(network.judged(trained, vectors).logit, labels))

  gradient = jax.grad(loss)(trained)
  updates, moments = rule.update(gradient, moments, trained)
  return optax.apply_updates(trained, updates), moments


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _timed(function: Callable, *arguments: Any) -> tuple[float, float]:
  wall, own = time.perf_counter(), time.process_time()
  jax.block_until_ready(function(*arguments))
  return time.perf_counter() - wall, time.process_time() - own


def main() -> None:
  """Prints a row for each."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--backbone", default="vit_small_patch16")
  parser.add_argument("--images", type=int, default=8)
  args = parser.parse_args()
  parallel.setup()
  backbone, rule = backbones.load(args.backbone), optax.adamw(1e-4)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (args.images, 224, 224, 3), np.uint8)
  labels = jnp.arange(args.images) % 2
  encoder = jax.jit(functools.partial(backbone.init, image_size=224))(
    jax.random.key(0)
  )
  steps = {}
  for name, adapters in (
    ("whole encoder", None),
    ("adapters", Adapters("", _RANK, _ALPHA, 0.0)),
  ):
    network = Network(backbone, 224, _CHANNELS, 0, 4, adapters)
    trained: dict[str, Any] = dict(network.init(jax.random.key(1)).params)
    del trained["bottleneck"]
    if adapters is None:
      trained["encoder"] = encoder
    moments = rule.init(trained)
    frozen = encoder if adapters else {}
    given = trained, moments, frozen, images, labels
    made = jax.jit(functools.partial(_step, network, rule)).lower(*given)
    steps[name] = made.compile(), given
  times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
  for _ in range(_REPEATS):
    for name, (program, given) in steps.items():
      times[name].append(_timed(program, *given))
  rows = []
  for name, (program, (trained, moments, *_)) in steps.items():
    wall, own = np.min(times[name], axis=0)
    held = 2 * _bytes(trained) + _bytes(moments)
    beside = program.memory_analysis().temp_size_in_bytes
    rows.append(
      {
        "trained": name,
        "wall, s": f"{wall:.2f}",
        "processor, s": f"{own:.2f}",
        "parameters": f"{sum(x.size for x in jax.tree.leaves(trained)):,}",
        "trained, MB": f"{held / 1e6:.1f}",
        "beside, MB": f"{beside / 1e6:.1f}",
      }
    )
  harness.tell(rows)


if __name__ == "__main__":
  main()
