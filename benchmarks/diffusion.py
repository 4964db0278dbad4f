"""The diffusion transformer: sampling in one program, and a step in bfloat16.

python benchmarks/diffusion.py sampling
python benchmarks/diffusion.py step

prints a Markdown table; --json=FILE writes the same rows. `step` runs nothing:
it lowers the step for each platform and counts what it does.
"""

from collections.abc import Callable, Iterator
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

from benchmarks import accelerators, harness
from protojax import parallel
from protojax.diffusion import processes, samplers, transformer
from protojax.diffusion.processes import Flow
from protojax.engine import cost, memory
from protojax.types import Array, PyTree

_STEPS, _IMAGES = 50, 16
_BATCH = 32  # a device
_PLATFORMS = ("cpu", "cuda", "tpu")
# That of the digits: 8 x 8 pixels, 16 tokens.
_SMALL = transformer.DiT(64, 4, 4, classes=10, learn_sigma=False)


def sampling(args: Any) -> Iterator[harness.Row]:
  """Euler's steps as one scan, unrolled, and called one by one from Python.

  Times of a step are medians, taken in turns; the first call, which compiles,
  stands apart.
  """
  del args
  process, shape = Flow(), (_IMAGES, 8, 8, 3)
  params = _params(_SMALL, shape)
  x = processes.normal(jax.random.split(parallel.key(0), _IMAGES), *shape[1:])
  times = jnp.asarray(process.times(_STEPS))

  def step(params: PyTree, x: Array, start: Array, end: Array) -> Array:
    predict = functools.partial(_predict, params)
    return samplers.step(process, predict, x, start, end)

  def scanned(params: PyTree, x: Array) -> Array:
    predict = functools.partial(_predict, params)
    return samplers.follow(process, predict, x, times)

  def unrolled(params: PyTree, x: Array) -> Array:
    for i in range(_STEPS):
      x = step(params, x, times[i], times[i + 1])
    return x

  one = jax.jit(step)

  def called(params: PyTree, x: Array) -> Array:
    for i in range(_STEPS):
      x = one(params, x, times[i], times[i + 1])
    return x

  forms = {
    "one scan": jax.jit(scanned),
    "unrolled": jax.jit(unrolled),
    "called one by one": called,
  }
  first = {name: _seconds(form, params, x) for name, form in forms.items()}
  runs = {name: harness.calls(form, params, x) for name, form in forms.items()}
  for row in harness.in_turns(runs, _IMAGES):
    yield {**row, "first call, s": round(first[row["row"]], 1)}


def step(args: Any) -> Iterator[harness.Row]:
  """A training step of DiT-S on latents of 32 x 32, and what bounds it."""
  del args
  network = transformer.size("S", dtype=jnp.bfloat16)
  yield work(f"DiT-S, {_BATCH} images", network)
  yield work(f"DiT-S, {_BATCH} images, remat", network.copy(remat=True))


def work(name: str, network: transformer.DiT) -> harness.Row:
  """What a training step of a network does, lowered for each platform.

  Args:
    name: of the row.
    network: of latents of 32 x 32, with a variance.
  """
  train, given = training(network)
  found = cost.of(train, *given)
  traced = jax.jit(train).trace(*given)
  for platform in _PLATFORMS:
    traced.lower(lowering_platforms=(platform,))
  row = {
    "row": name,
    "GFLOP": round(found.flops / 1e9),
    "GB touched": round(found.touched / 1e9, 1),
    "GB held": round(found.held / 1e9, 2),
    "lowered for": ", ".join(_PLATFORMS),
  }
  for machine in accelerators.MACHINES:
    products = found.flops / machine.products
    touched = found.touched / machine.memory
    row[f"{machine.name}: products, memory ms"] = (
      f"{1e3 * products:.1f}, {1e3 * touched:.1f}"
    )
  return row


def training(network: transformer.DiT) -> tuple[Callable[..., Any], tuple]:
  """A step with AdamW and averaged weights, and the shapes of its inputs."""
  process = Flow()
  optimizer = optax.chain(
    optax.clip_by_global_norm(0.5), optax.adamw(1e-4, weight_decay=0)
  )

  def loss(params: PyTree, batch: PyTree, keys: Array) -> Array:
    drawn = processes.noised(process, batch["latent"], keys)
    found, _ = network.apply(params, drawn.x, drawn.t, batch["label"])
    found = jnp.split(found, 2, axis=-1)[0]
    return jnp.mean(processes.squared_error(found, drawn.target))

  def train(
    params: PyTree, moments: PyTree, average: PyTree, batch: PyTree, key: Array
  ) -> tuple:
    keys = jax.random.split(key, _BATCH)
    value, slopes = jax.value_and_grad(loss)(params, batch, keys)
    updates, moments = optimizer.update(slopes, moments, params)
    params = optax.apply_updates(params, updates)
    return params, moments, memory.ema(average, params, 0.9999), value

  batch = {
    "latent": jax.ShapeDtypeStruct((_BATCH, 32, 32, 4), jnp.float32),
    "label": jax.ShapeDtypeStruct((_BATCH,), jnp.int32),
  }
  params = jax.eval_shape(
    network.init,
    parallel.init_key(0),
    batch["latent"],
    jax.ShapeDtypeStruct((_BATCH,), jnp.float32),
    batch["label"],
  )
  moments = jax.eval_shape(optimizer.init, params)
  key = jax.eval_shape(lambda: parallel.key(0))
  return train, (params, moments, params, batch, key)


def _params(network: transformer.DiT, shape: tuple[int, ...]) -> PyTree:
  """Parameters of no special values: at the start the output is zero."""
  t, label = np.zeros(shape[0], np.float32), np.zeros(shape[0], np.int32)
  x = np.zeros(shape, np.float32)
  shapes = jax.eval_shape(network.init, parallel.init_key(0), x, t, label)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.02, x.dtype), shapes
  )


def _predict(params: PyTree, x: Array, t: Array) -> Array:
  label = jnp.zeros(len(x), jnp.int32)
  return _SMALL.apply(params, x, t, label)[0]


def _seconds(function: Callable[..., Any], *inputs: Any) -> float:
  began = time.perf_counter()
  jax.block_until_ready(function(*inputs))
  return time.perf_counter() - began


if __name__ == "__main__":
  harness.main(
    __doc__, {"sampling": sampling, "step": step}, root="is not used"
  )
