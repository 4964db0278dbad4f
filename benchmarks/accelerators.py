"""A paper-and-pencil model of a step on machines that are not at hand.

From what the compiled step does and sends, and from what its makers publish of
an accelerator, the times below which a step cannot fall. Nothing of it was run.
"""

from collections.abc import Iterator, Mapping
import dataclasses
from typing import Any

import jax
import numpy as np

from benchmarks import harness, programs
from configs import protopnet_folder
from protojax import methods, parallel
from protojax.train import stage
from protojax.types import PyTree

COMPILED_FOR = 8
_BATCH = 32  # a device
_SIZE, _CHANNELS = 224, 128


@dataclasses.dataclass(frozen=True)
class Accelerator:
  """What its makers publish, of one device.

  Attributes:
    name: what it is called.
    count: devices of the machine.
    products: FLOP/s of matrix products, in bfloat16.
    exact: FLOP/s of products of float32 at `Precision.HIGHEST`.
    memory: bytes/s.
    network: bytes/s that a device can send to the others.
  """

  name: str
  count: int
  products: float
  exact: float
  memory: float
  network: float


# v5e (docs.cloud.google.com/tpu/docs/v5e): 197 TFLOP/s, 819 GB/s, links of
# 400 GB/s both ways together. A product of float32 is six of bfloat16 there.
# H100 SXM (NVIDIA's data sheet): 989 TFLOP/s, of float32 67, 3.35 TB/s, NVLink
# 900 GB/s both ways together.
MACHINES = (
  Accelerator("TPU v5e-256", 256, 197e12, 197e12 / 6, 819e9, 200e9),
  Accelerator("8 x H100 SXM", 8, 989e12, 67e12, 3.35e12, 450e9),
)


@dataclasses.dataclass(frozen=True)
class Case:
  """A joint step of ResNet-50.

  Attributes:
    per_class: prototypes of each class.
    classes: how many.
    sharded: whether the prototypes are in parts.
  """

  per_class: int
  classes: int
  sharded: bool

  @property
  def name(self) -> str:
    """In words."""
    held = "in parts" if self.sharded else "whole"
    return f"P = {self.per_class * self.classes:,} {held}"


_CASES = (Case(10, 200, False), Case(10, 200, True), Case(1000, 1000, True))


def model(quick: bool) -> Iterator[harness.Row]:
  """Bounds of each step on each machine, in milliseconds."""
  for case in _CASES[: 1 if quick else None]:
    program, grid, constant = _compiled(case)
    for machine in MACHINES:
      yield _bounds(case, program, grid, constant, machine)


def _bounds(
  case: Case,
  program: programs.Program,
  grid: tuple[int, int],
  constant: float,
  machine: Accelerator,
) -> harness.Row:
  cells, bank = int(np.prod(grid)), case.per_class * case.classes
  images = _BATCH * machine.count if case.sharded else _BATCH
  held = bank // machine.count if case.sharded else bank
  # One matmul chooses the cells, without a gradient. The chosen patch meets
  # its prototype forward, once more backward, and leaves two gradients.
  exact = 2.0 * images * cells * held * _CHANNELS
  pairs = 4 * 4.0 * images * held * _CHANNELS
  # The step was compiled for so many devices; what is of a batch grows with
  # them, the gradients of the network do not.
  rows = sum(size for _, size in program.sent.values()) - constant
  ring = (machine.count - 1) / machine.count
  ring /= (COMPILED_FOR - 1) / COMPILED_FOR
  sent = ring * (constant + rows * machine.count / COMPILED_FOR)
  seconds = {
    "products": program.flops / machine.products + exact / machine.exact,
    "memory": (program.touched / 2 + pairs) / machine.memory,
    "network": sent / machine.network,
  }
  bound = max(seconds.values())
  return {
    "row": f"{case.name}, {machine.name}",
    "GFLOP": f"{program.flops / 1e9:,.0f} + {exact / 1e9:,.0f}",
    "GB touched": f"{program.touched / 2e9:,.1f} + {pairs / 1e9:,.1f}",
    "MB sent": f"{sent / 1e6:,.1f}",
    **{f"{name} ms": f"{1e3 * x:.2f}" for name, x in seconds.items()},
    "images/s at most": f"{_BATCH * machine.count / bound:,.0f}",
  }


def _compiled(case: Case) -> tuple[programs.Program, tuple[int, int], float]:
  """The step's program; cells of a map; bytes of it that no batch changes."""
  method = _method(case)
  fit = next(s for s in method.stages() if s.name == "joint")
  state = jax.eval_shape(method.init, parallel.init_key(0))
  moments = jax.eval_shape(fit.optimizer.init, state.params)
  given = parallel.map_axes(_part, (state, moments), fit.split)
  step = stage.mapped(fit, *given, parallel.key(0))
  number = jax.ShapeDtypeStruct((), np.int32)
  program = programs.read(step.lower(*given, _batch(), number))
  shared = ("backbone", "add_on") + ("prototypes",) * (not case.sharded)
  summed = [state.params[name] for name in shared]
  size = sum(4 * x.size for x in jax.tree.leaves(summed))
  ring = 2 * (COMPILED_FOR - 1) / COMPILED_FOR
  return program, method.network.grid, ring * size


def _part(x: jax.ShapeDtypeStruct, axis: int | None) -> jax.ShapeDtypeStruct:
  shape = list(x.shape)
  if axis is not None:
    shape[axis : axis + 1] = COMPILED_FOR, shape[axis] // COMPILED_FOR
  return jax.ShapeDtypeStruct(tuple(shape), x.dtype)


def _batch() -> Mapping[str, PyTree]:
  def rows(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((COMPILED_FOR, _BATCH, *shape), dtype)

  return {
    "image": rows(np.uint8, _SIZE, _SIZE, 3),
    "label": rows(np.int32),
    "index": rows(np.int32),
    "mask": rows(bool),
  }


def _method(case: Case) -> Any:
  config = protopnet_folder.get_config().unlock()
  config.update_from_flattened_dict(
    {
      "backbone.name": "resnet50",
      "backbone.pretrained": False,
      "batch_size": COMPILED_FOR * _BATCH,
      "data.augment": "",
      "data.image_size": _SIZE,
      "joint.epochs": 1,
      "joint.train_norm": True,
      "prototypes.channels": _CHANNELS,
      "prototypes.per_class": case.per_class,
      "prototypes.sharded": case.sharded,
    }
  )
  names = tuple(f"class {k}" for k in range(case.classes))
  method = methods.load(config.lock(), names)
  method._sources["train"] = _Unread(names)
  return method


class _Unread:
  """As many images as a batch has, of which none is ever read."""

  def __init__(self, class_names: tuple[str, ...]) -> None:
    self.class_names = class_names
    self.labels = np.zeros(COMPILED_FOR * _BATCH, np.int32)

  def __len__(self) -> int:
    return len(self.labels)
