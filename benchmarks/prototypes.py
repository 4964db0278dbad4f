"""The prototype layer beside the matmul it cannot do without, and its memory.

python benchmarks/prototypes.py [scores] [gradients] [memory] [--quick]

`scores` are distances and cells of the nearest patches and their similarities,
8 images of 7 x 7 x 128 against 2,000 prototypes and more; the other side is the
products of all patches and prototypes, nothing else. `gradients` are those of
the scores, beside the same matmul and its gradients; both get the gradient of
their results given. `memory` is what a training step of ProtoPNet's layers
behind the backbone holds in all, parameters and moments among it, as XLA plans
it, as a share of 24 GB: 32 images and all of its loss. It is run once, and its
time told.
"""

from collections.abc import Callable, Iterator
import dataclasses
from pathlib import Path
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, ratios
from configs import protopnet_folder
from protojax import methods, parallel
from protojax.engine import descent
from protojax.engine.optimizer import grouped
from protojax.prototypes import pooling, similarity
from protojax.prototypes.distance import PRECISION
from protojax.types import Array

_GRID, _CHANNELS, _IMAGES = 7, 128, 8
_COUNTS = 2_000, 20_000, 100_000
_METRIC = similarity.load("log")
_TARGET = 0.6
# Of the memory: images of a step, classes, bytes that there are.
_BATCH, _CLASSES, _BYTES = 32, 1_000, 24e9


def scores(quick: bool) -> Iterator[ratios.Pair]:
  """Forward passes."""
  for count in _counts(quick):
    given = _images(_IMAGES), _prototypes(count)
    yield _pair(f"scores, P = {count:,}", _scores, _products, given)


def gradients(quick: bool) -> Iterator[ratios.Pair]:
  """Forward and backward passes."""
  for count in _counts(quick):
    given = _images(_IMAGES), _prototypes(count)
    yield _pair(
      f"scores and gradients, P = {count:,}",
      _with_gradients(_scores),
      _with_gradients(_products),
      given,
    )


def _counts(quick: bool) -> tuple[int, ...]:
  return _COUNTS[:2] if quick else _COUNTS


def _images(count: int) -> Array:
  shape = count, _GRID, _GRID, _CHANNELS
  return jnp.asarray(np.random.default_rng(0).random(shape, np.float32))


def _prototypes(count: int) -> Array:
  shape = count, 1, 1, _CHANNELS
  return jnp.asarray(np.random.default_rng(1).random(shape, np.float32))


def _scores(features: Array, prototypes: Array) -> tuple[Array, Array]:
  near = pooling.nearest(features, prototypes, _METRIC)
  return _METRIC.activation(near.distances), near.cells


def _products(features: Array, prototypes: Array) -> tuple[Array, None]:
  flat = prototypes.reshape(-1, _CHANNELS)
  return jnp.matmul(features, flat.T, precision=PRECISION), None


def _with_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
  def both(*given: Array) -> Any:
    found, back, _ = jax.vjp(function, *given, has_aux=True)
    return found, back(found)

  return both


def _pair(
  row: str,
  ours: Callable[..., Any],
  other: Callable[..., Any],
  given: tuple[Array, ...],
) -> ratios.Pair:
  def run(function: Callable[..., Any]) -> Callable[[], Any]:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*given))

  return ratios.Pair(
    f"{row} / matmul", run(ours), run(other), _TARGET, "higher"
  )


def memory(quick: bool) -> Iterator["Memory"]:
  """Of steps with either head."""
  for kind in ("dense", "class_block"):
    yield Memory(kind, 10 if quick else 100)


@dataclasses.dataclass(frozen=True)
class Memory:
  """A step that trains add-on, prototypes and head on features of a backbone.

  Attributes:
    kind: of the head.
    per_class: prototypes of each class.
  """

  kind: str
  per_class: int

  def measure(self, repeats: int) -> harness.Row:
    """Bytes of the compiled step, and the time of one that is run."""
    del repeats
    method = _method(self.kind, self.per_class)
    warm = next(s for s in method.stages() if s.name == "warm")
    rates = dict.fromkeys(("add_on", "prototypes", "head"), 1e-3)
    fit = dataclasses.replace(warm, optimizer=grouped(rates))
    state = jax.jit(method.init)(parallel.init_key(0))
    moments = jax.jit(fit.optimizer.init)(state.params)
    given = parallel.distribute((state, moments), fit.sharding)
    key = parallel.key(0)
    began = time.perf_counter()
    step = descent.mapped(fit, *given, key, has_rows=[""])
    batch = parallel.shard(_batch(method.network.backbone.channels))
    compiled = step.lower(*given, batch, np.int32(0)).compile()
    first = time.perf_counter() - began
    plan = compiled.memory_analysis()
    # The new state takes the place of the old.
    total = plan.argument_size_in_bytes + plan.temp_size_in_bytes
    began = time.perf_counter()
    jax.block_until_ready(compiled(*given, batch, np.int32(0)))
    return {
      "row": (
        f"step, P = {self.per_class * _CLASSES:,}, {self.kind} head:"
        f" {total / 1e9:.2f} GB, of it temporary"
        f" {plan.temp_size_in_bytes / 1e9:.2f} / 24 GB"
      ),
      "ours ms": round(1e3 * (time.perf_counter() - began), 2),
      "other ms": "",
      "ratio": round(total / _BYTES, 3),
      "target": 1.0,
      "better": "lower",
      "met": "yes" if total <= _BYTES else "no",
      "first calls s": f"{first:.1f}",
    }


def _method(kind: str, per_class: int) -> Any:
  config = protopnet_folder.get_config().unlock()
  config.update_from_flattened_dict(
    {
      "backbone.name": "resnet18",
      "backbone.pretrained": False,
      "batch_size": _BATCH,
      "prototypes.per_class": per_class,
      "prototypes.channels": _CHANNELS,
      "prototypes.head": kind,
    }
  )
  names = tuple(f"class {k}" for k in range(_CLASSES))
  method = methods.load(config.lock(), names)
  method.dataset.sources["train"] = harness.Unread(names, _BATCH)
  return method


def _batch(channels: int) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  return {
    "features": rng.random((_BATCH, _GRID, _GRID, channels), np.float32),
    "label": rng.integers(0, _CLASSES, _BATCH, np.int32),
    "index": np.arange(_BATCH, dtype=np.int32),
    "valid": np.ones(_BATCH, bool),
  }


if __name__ == "__main__":
  ratios.main(
    __doc__, {"scores": scores, "gradients": gradients, "memory": memory}
  )
