"""The prototype layer beside the matmul it cannot do without, and its memory.

python benchmarks/prototypes.py [scores] [gradients] [memory] [million]
  [--quick]

`scores` are distances and cells of the nearest patches and their similarities,
8 images of 7 x 7 x 128 against 2,000 prototypes and more; the other side is the
products of all patches and prototypes, nothing else. `gradients` are those of
the scores, beside the same matmul and its gradients; both get the gradient of
their results given. `memory` is what a training step of ProtoPNet's layers
behind the backbone holds in all, parameters and moments among it, as XLA plans
it, as a share of 24 GB: 32 images and all of its loss. It is run once, and its
time told. `million` does the same with 1,000,000 prototypes of 10,000 classes
and two images, in a process of its own, and tells its peak, too.
"""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import json
from pathlib import Path
import subprocess
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
# How many times as fast the fused kernel must be to become the default.
_DEFAULT = 1.2
# Of the memory: images of a step, classes, bytes that there are.
_BATCH, _CLASSES, _BYTES = 32, 1_000, 24e9
# Of a million: prototypes of each class, classes, images of a step.
_MILLION = 100, 10_000, 2
# Steps after the first one, whose median is told.
_STEPS = 3


def scores(quick: bool) -> Iterator[ratios.Pair]:
  """Forward passes."""
  for count in _counts(quick):
    yield beside_matmul(count)


def beside_matmul(count: int, kernel: str = "xla") -> ratios.Pair:
  """Scores of so many prototypes, their cells found by a kernel.

  Args:
    count: P.
    kernel: one of `pooling.KERNELS`.
  """
  given = _images(_IMAGES), _prototypes(count)
  ours = functools.partial(_scores, kernel=kernel)
  by = "" if kernel == "xla" else f", {kernel}"
  return _pair(f"scores, P = {count:,}{by}", ours, _products, given)


def kernels(count: int) -> ratios.Pair:
  """Scores by the fused kernel beside those by XLA."""
  given = _images(_IMAGES), _prototypes(count)

  def run(kernel: str) -> Callable[[], Any]:
    compiled = jax.jit(functools.partial(_scores, kernel=kernel))
    return lambda: jax.block_until_ready(compiled(*given))

  row = f"scores, P = {count:,}, pallas / xla"
  return ratios.Pair(row, run("pallas"), run("xla"), _DEFAULT, "higher")


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


def _scores(
  features: Array, prototypes: Array, kernel: str = "xla"
) -> tuple[Array, Array]:
  near = pooling.nearest(features, prototypes, _METRIC, kernel=kernel)
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


def million(quick: bool) -> Iterator["Apart"]:
  """A step of a million prototypes."""
  per_class, classes, batch = _MILLION
  yield Apart(
    Memory("class_block", per_class, classes // (100 if quick else 1), batch)
  )


@dataclasses.dataclass(frozen=True)
class Memory:
  """A step that trains add-on, prototypes and head on features of a backbone.

  Attributes:
    kind: of the head.
    per_class: prototypes of each class.
    classes: how many.
    batch: images of a step.
    limit: bytes that there are.
  """

  kind: str
  per_class: int
  classes: int = _CLASSES
  batch: int = _BATCH
  limit: float = _BYTES
  better: ratios.Better = "lower"

  @property
  def row(self) -> str:
    """What the row is called, but for what it tells of bytes."""
    return f"step, P = {self.per_class * self.classes:,}, {self.kind} head"

  def measure(self, repeats: int) -> harness.Row:
    """Bytes of the compiled step, and the time of those that are run."""
    del repeats
    method = self._method()
    warm = next(s for s in method.stages() if s.name == "warm")
    rates = dict.fromkeys(("add_on", "prototypes", "head"), 1e-3)
    fit = dataclasses.replace(warm, optimizer=grouped(rates))
    began = time.perf_counter()
    # Not kept beside what is distributed: the next step overwrites that.
    state = jax.jit(method.init)(parallel.init_key(0))
    given = parallel.distribute(
      (state, jax.jit(fit.optimizer.init)(state.params)), fit.sharding
    )
    step = descent.mapped(fit, *given, parallel.key(0), has_rows=[""])
    del state
    batch = parallel.shard(self._batch(method.network.backbone.channels))
    compiled = step.lower(*given, batch, np.int32(0)).compile()
    first = time.perf_counter() - began
    plan = compiled.memory_analysis()
    # The new state takes the place of the old.
    total = plan.argument_size_in_bytes + plan.temp_size_in_bytes
    seconds = []
    for number in range(1 + _STEPS):
      began = time.perf_counter()
      update = compiled(*given, step.assets, step.key, batch, np.int32(number))
      # A compiled program gives the tuple that an `Update` is.
      loss = float(np.asarray(jax.block_until_ready(update)[2]["loss"]))
      seconds.append(time.perf_counter() - began)
      given = update[:2]
    return {
      "row": (
        f"{self.row}: {total / 1e9:.2f} GB, of it temporary"
        f" {plan.temp_size_in_bytes / 1e9:.2f} / {self.limit / 1e9:.0f} GB"
      ),
      "ours ms": round(1e3 * float(np.median(seconds[1:])), 2),
      "other ms": "",
      "ratio": round(total / self.limit, 3),
      "target": 1.0,
      "better": "lower",
      "met": "yes" if total <= self.limit and np.isfinite(loss) else "no",
      "first calls s": f"{first:.1f}",
    }

  def _method(self) -> Any:
    config = protopnet_folder.get_config().unlock()
    config.update_from_flattened_dict(
      {
        "backbone.name": "resnet18",
        "backbone.pretrained": False,
        "batch_size": self.batch,
        "prototypes.per_class": self.per_class,
        "prototypes.channels": _CHANNELS,
        "prototypes.head": self.kind,
      }
    )
    names = tuple(f"class {k}" for k in range(self.classes))
    method = methods.load(config.lock(), names)
    method.dataset.sources["train"] = harness.Unread(names, self.batch)
    return method

  def _batch(self, channels: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
      "features": rng.random((self.batch, _GRID, _GRID, channels), np.float32),
      "label": rng.integers(0, self.classes, self.batch, np.int32),
      "index": np.arange(self.batch, dtype=np.int32),
      "valid": np.ones(self.batch, bool),
    }


@dataclasses.dataclass(frozen=True)
class Apart:
  """A step in a process of its own, which tells its peak of memory.

  Attributes:
    step: what is measured.
  """

  step: Memory

  def measure(self, repeats: int) -> harness.Row:
    """The row of the step, with the peak; that is what must fit."""
    code = (
      "import json\n"
      "from benchmarks import harness, prototypes\n"
      "from protojax import parallel\n"
      "parallel.setup()\n"
      f"row = prototypes.{self.step!r}.measure({repeats})\n"
      "print(json.dumps({**row, 'peak': harness.peak()}))\n"
    )
    done = subprocess.run(
      [sys.executable, "-c", code],
      cwd=Path(__file__).parents[1],
      stdout=subprocess.PIPE,
      text=True,
      check=True,
    )
    row = json.loads(done.stdout.splitlines()[-1])
    peak = row.pop("peak")
    row["row"] += f", peak of the process {peak / 1e9:.2f} GB"
    row["ratio"] = round(peak / self.step.limit, 3)
    return {**row, "met": "yes" if peak <= self.step.limit else "no"}


if __name__ == "__main__":
  ratios.main(
    __doc__,
    {
      "scores": scores,
      "gradients": gradients,
      "memory": memory,
      "million": million,
    },
  )
