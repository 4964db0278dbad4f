"""Accelerators: a model of those not at hand, and one command for one that is.

python benchmarks/accelerators.py run [--minutes 8] [--json FILE] [--quick]
python benchmarks/accelerators.py table FILE

`run` works on a machine with a GPU, downloads nothing, and takes random
weights. First it checks: the stages of every method on the GPU beside the CPU,
the fused kernel beside XLA, bfloat16, push and explanation. Then it measures,
the most important rows first. Each row is printed and appended to FILE, one
line of JSON each, as soon as it is there, so that a run that is cut off leaves
its rows. PyTorch, torchvision, OpenCV and CaBRNet are used where they are
installed. `--quick` runs small sizes on CPU, in a few minutes, to show that it
works. `table` prints FILE as Markdown. What it needs:

python -m pip install -e '.[demo,test]' 'jax[cuda12]'

The model is that of `scaling.py model`: from what the compiled step does and
sends, and from what its makers publish of an accelerator, the times below which
a step cannot fall. Nothing of the model was run.
"""

import argparse
from collections.abc import Iterator, Mapping
import dataclasses
from pathlib import Path
import sys
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness, on_device, programs
from configs import protopnet_folder
from protojax import methods, parallel
from protojax.engine import descent
from protojax.types import PyTree

COMPILED_FOR = 8
_BATCH = 32  # a device
_SIZE, _CHANNELS = 224, 128
# How often XLA reads or writes b p d numbers, forward and backward, where each
# prototype meets its patch and the map it is chosen from: 7.6 to 9.3 as it
# counts them of 1,024 and 2,048 prototypes of a 7 x 7 grid, outside of loops.
_PASSES = 8.0


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
  def count(self) -> int:
    """P."""
    return self.per_class * self.classes

  @property
  def name(self) -> str:
    """In words."""
    held = "in parts" if self.sharded else "whole"
    return f"P = {self.count:,} {held}"


_CASES = (Case(10, 200, False), Case(10, 200, True), Case(1000, 1000, True))


def model(quick: bool) -> Iterator[harness.Row]:
  """Bounds of each step on each machine, in milliseconds."""
  network = None
  for case in _CASES[: 1 if quick else None]:
    program, cells, constant = _compiled(case)
    # Of the backbone, beside which 2,000 prototypes are nothing. Those of a
    # million stand in loops, which XLA counts once: they are worked out.
    network = network or program
    for machine in MACHINES:
      work = _work(case, network, cells, machine.count)
      sent = _sent(program, constant, machine.count)
      yield _bounds(case, machine, work, sent)


@dataclasses.dataclass(frozen=True)
class _Work:
  """What a device does in a step: operations, bytes read and written.

  Attributes:
    flops, touched: for the network, in bfloat16.
    exact, bank: for the prototypes, in float32.
  """

  flops: float
  touched: float
  exact: float
  bank: float


def _work(
  case: Case, network: programs.Program, cells: int, devices: int
) -> _Work:
  images = _BATCH * (devices if case.sharded else 1)
  held = case.count // (devices if case.sharded else 1)
  # One matmul chooses the cells, without a gradient.
  exact = 2.0 * images * cells * held * _CHANNELS
  pairs = _PASSES * images * held * _CHANNELS
  # Weights, two moments and gradient read and written; the head read twice.
  state = held * (7.0 * _CHANNELS + 2 * case.classes)
  # Compiled in float32, of which bfloat16 is half.
  return _Work(network.flops, network.touched / 2, exact, 4 * (pairs + state))


def _sent(program: programs.Program, constant: float, devices: int) -> float:
  """Bytes, of a step that was compiled for `COMPILED_FOR` devices.

  What is of a batch grows with them, the network's gradients do not.
  """
  rows = sum(size for _, size in program.sent.values()) - constant
  ring = (devices - 1) / devices * COMPILED_FOR / (COMPILED_FOR - 1)
  return ring * (constant + rows * devices / COMPILED_FOR)


def _bounds(
  case: Case, machine: Accelerator, work: _Work, sent: float
) -> harness.Row:
  seconds = {
    "products": work.flops / machine.products + work.exact / machine.exact,
    "memory": (work.touched + work.bank) / machine.memory,
    "network": sent / machine.network,
  }
  bound = max(seconds.values())
  return {
    "row": f"{case.name}, {machine.name}",
    "GFLOP": f"{work.flops / 1e9:,.0f} + {work.exact / 1e9:,.0f}",
    "GB touched": f"{work.touched / 1e9:,.1f} + {work.bank / 1e9:,.1f}",
    "MB sent": f"{sent / 1e6:,.1f}",
    **{f"{name} ms": f"{1e3 * x:.2f}" for name, x in seconds.items()},
    "images/s at most": f"{_BATCH * machine.count / bound:,.0f}",
  }


def _compiled(case: Case) -> tuple[programs.Program, int, float]:
  """The step's program, cells of a map, bytes sent whatever the batch is."""
  method = _method(case)
  fit = next(s for s in method.stages() if s.name == "joint")
  state = jax.eval_shape(method.init, parallel.init_key(0))
  moments = jax.eval_shape(fit.optimizer.init, state.params)
  given = parallel.map_axes(_part, (state, moments), fit.sharding)
  step = descent.mapped(fit, *given, parallel.key(0))
  number = jax.ShapeDtypeStruct((), np.int32)
  program = programs.read(step.lower(*given, _batch(), number))
  shared = ("backbone", "add_on") + ("prototypes",) * (not case.sharded)
  summed = [state.params[name] for name in shared]
  size = sum(4 * x.size for x in jax.tree.leaves(summed))
  ring = 2 * (COMPILED_FOR - 1) / COMPILED_FOR
  return program, int(np.prod(method.network.grid)), ring * size


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
    "valid": rows(bool),
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
  method.dataset.sources["train"] = harness.Unread(names, COMPILED_FOR * _BATCH)
  return method


def main() -> int:
  """Runs everything on the device, or one task of it, or prints a table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  commands = parser.add_subparsers(dest="command", required=True)
  everything = commands.add_parser("run", help="check and measure")
  everything.add_argument("--minutes", type=float, default=8.0)
  everything.add_argument(
    "--only", nargs="*", default=[], metavar="NAME", help="some tasks"
  )
  table = commands.add_parser("table", help="print what a run has left")
  table.add_argument("file", metavar="FILE")
  # What `run` starts.
  one = commands.add_parser("work")
  one.add_argument("task")
  one.add_argument("role", choices=("cpu", "device"))
  one.add_argument("--folder", type=Path, required=True)
  one.add_argument("--until", type=float, default=600.0)
  for command in (everything, one):
    command.add_argument("--json", default="", metavar="FILE")
    command.add_argument(
      "--quick", action="store_true", help="small, on CPU, in minutes"
    )
  args = parser.parse_args()
  if args.command == "table":
    print("".join(on_device.tables(on_device.rows(args.file))), end="")
    return 0
  # Not at the top: `scaling.py` and `diffusion.py` import this file.
  from benchmarks import device_tasks

  if args.command == "work":
    return device_tasks.work(args)
  tasks = device_tasks.tasks(args.quick)
  if unknown := sorted({*args.only} - {task.name for task in tasks}):
    names = ", ".join(task.name for task in tasks)
    parser.error(f"{', '.join(unknown)}: there are {names}")
  chosen = [t for t in tasks if not args.only or t.name in args.only]
  return on_device.run(args, chosen)


if __name__ == "__main__":
  sys.exit(main())
