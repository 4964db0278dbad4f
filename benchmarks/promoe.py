"""A mixture of experts beside a dense MLP of the same activated width.

python benchmarks/promoe.py layer
python benchmarks/promoe.py sampling
python benchmarks/promoe.py step

`layer`: 13 experts, 4,096 tokens of 384 channels; 768 units in each expert and
in the shared one, 1,536 in the dense MLP. The load is equal, or one expert has
a third of the tokens. The loop takes all tokens through each expert and masks
them. `sampling`: the steps of the embedded digits' sampler in one scan, and one
call for each. `step` runs nothing: it lowers a step of size S, without the
losses of the routers, for each platform and counts what it does.

Wall time is the least of some calls, taken in turns; the ratio is to the dense
MLP, or to the scan.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
import itertools
from pathlib import Path
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import diffusion, harness
from protojax import methods, parallel
from protojax.configs import promoe_digits, promoe_imagenet
from protojax.diffusion import samplers
from protojax.methods.promoe import experts, settings
from protojax.methods.promoe.buckets import buckets
from protojax.methods.promoe.experts import Experts
from protojax.types import Array, PyTree

_COUNT, _TOKENS, _CHANNELS = 13, 4096, 384
_UNITS = 2 * _CHANNELS
_REPEATS = 7
_STEPS, _IMAGES = 25, 64


def layer() -> Iterator[harness.Row]:
  """A row for each strategy and load."""
  rng = np.random.default_rng(0)

  def drawn(*shape: int) -> Array:
    return jnp.asarray(rng.normal(size=shape) * 0.05, jnp.float32)

  def mlp(units: int) -> tuple[Array, ...]:
    shapes = (_CHANNELS, units), (units,), (units, _CHANNELS), (_CHANNELS,)
    return tuple(drawn(*shape) for shape in shapes)

  of_experts = Experts(*(jnp.stack(x) for x in zip(*_mlps(mlp), strict=True)))
  shared, wide = mlp(_UNITS), mlp(2 * _UNITS)
  tokens = drawn(_TOKENS, _CHANNELS) * 20
  equal = jnp.asarray(rng.permutation(np.arange(_TOKENS) % _COUNT), jnp.int32)
  p = np.full(_COUNT, 2 / 3 / (_COUNT - 1))
  p[0] = 1 / 3
  third = jnp.asarray(rng.choice(_COUNT, _TOKENS, p=p), jnp.int32)
  both = of_experts, shared
  runs = {
    "dense MLP": (_dense, wide, equal),
    "buckets, equal load": (_mixture(buckets), both, equal),
    "buckets, a third to one expert": (_mixture(buckets), both, third),
    "loop with masks": (_mixture(_loop), both, equal),
    "ragged_dot, equal load": (_mixture(experts.ragged), both, equal),
  }
  forward = {
    name: (jax.jit(f), weights, tokens, expert)
    for name, (f, weights, expert) in runs.items()
  }
  slopes = {
    name: (_slopes(f), weights, tokens, expert)
    for name, (f, weights, expert) in runs.items()
  }
  yield from _rows({"forward": forward, "with gradient": slopes})


def _mlps(make: Callable[[int], tuple[Array, ...]]) -> list[tuple[Array, ...]]:
  return [make(_UNITS) for _ in range(_COUNT)]


def _through(weights: tuple[Array, ...], x: Array) -> Array:
  up, up_bias, down, down_bias = weights
  return experts.gelu(x @ up + up_bias[None]) @ down + down_bias[None]


def _dense(weights: PyTree, x: Array, expert: Array) -> Array:
  del expert
  return _through(weights, x)


def _mixture(strategy: Callable[..., Array]) -> Callable[..., Array]:
  def call(weights: PyTree, x: Array, expert: Array) -> Array:
    routed, shared = weights
    return strategy(routed, x, expert) + _through(shared, x)

  return call


def _loop(weights: Experts, x: Array, expert: Array) -> Array:
  """All tokens through each expert, masked."""
  total = jnp.zeros_like(x)
  for j in range(_COUNT):
    own = jax.tree.map(lambda w, j=j: w[j], weights)
    made = _through((own.up, own.up_bias, own.down, own.down_bias), x)
    total += jnp.where((expert == j)[:, None], made, 0)
  return total


def _slopes(function: Callable[..., Array]) -> Callable[..., Any]:
  def loss(weights: PyTree, x: Array, expert: Array) -> Array:
    return jnp.sum(function(weights, x, expert) ** 2)

  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))


def sampling() -> Iterator[harness.Row]:
  """The sampler of random weights: in one scan, and step by step."""
  method = methods.load(promoe_digits.get_config())
  net = method.network
  weights = jax.jit(method.init)(parallel.init_key(0)).params["network"]
  times = jnp.asarray(net.process.times(_STEPS))
  label = jnp.arange(_IMAGES, dtype=jnp.int32) % net.null
  x = jax.random.normal(parallel.key(0), (_IMAGES, 8, 8, 1))

  def predict(x: Array, t: Array) -> Array:
    return net.apply(weights, x, t, label).prediction

  @jax.jit
  def scanned(x: Array) -> Array:
    return samplers.follow(net.process, predict, x, times)

  @jax.jit
  def one(x: Array, start: Array, end: Array) -> Array:
    return samplers.step(net.process, predict, x, start, end)

  def step_by_step(x: Array) -> Array:
    for start, end in itertools.pairwise(times):
      x = one(x, start, end)
    return x

  runs = {"one scan": (scanned, x), "step by step": (step_by_step, x)}
  yield from _rows({"64 images of 25 steps": runs})


def step() -> Iterator[harness.Row]:
  """A training step of dense layers, and of experts by grouped products."""
  for routing in ("dense", "promoe"):
    config = promoe_imagenet.get_config("S").unlock()
    config.moe.update(routing=routing, strategy="ragged")
    yield diffusion.work(routing, settings.network(config, 1000))


def _rows(
  of_columns: Mapping[str, Mapping[str, tuple[Any, ...]]],
) -> Iterator[harness.Row]:
  rows: dict[str, harness.Row] = {}
  for column, runs in of_columns.items():
    least = _least(runs)
    first = next(iter(least.values()))
    for name, seconds in least.items():
      row = rows.setdefault(name, {"": name})
      row[f"{column}, ms"] = round(1e3 * seconds, 1)
      row[f"{column}, ratio"] = round(seconds / first, 2)
  yield from rows.values()


def _least(runs: Mapping[str, tuple[Any, ...]]) -> dict[str, float]:
  """The least seconds of each function, called in turns."""
  found: dict[str, list[float]] = {name: [] for name in runs}
  for turn in range(_REPEATS + 1):
    for name, (function, *inputs) in runs.items():
      began = time.perf_counter()
      jax.block_until_ready(function(*inputs))
      if turn:  # The first one compiles.
        found[name].append(time.perf_counter() - began)
  return {name: min(seconds) for name, seconds in found.items()}


_BENCHMARKS = {"layer": layer, "sampling": sampling, "step": step}


def main() -> None:
  """Prints the table that was asked for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("which", choices=list(_BENCHMARKS))
  args = parser.parse_args()
  parallel.setup()
  harness.tell(_BENCHMARKS[args.which]())


if __name__ == "__main__":
  main()
