"""The same numbers on 1, 2, 4 and 8 devices, and what the devices send.

python benchmarks/scaling.py [devices] [model]

`devices` runs a joint training step, a push and the sweep of an explanation of
ProtoPNet (ResNet-18, 64 px, photographs) on virtual CPU devices, with the
prototypes whole on each device and in parts, and compares with one device:
the largest difference of any array by that array's largest number, and the
norm of all differences by the norm of all numbers. They are, of a step, the
loss and the moments of its gradient. Sent is what a device passes on in a
ring, by the collectives of the compiled program; operations are those of one
device. Of times nothing is said: the devices share two cores.

`model` compiles the joint step of ResNet-50 at 224 px on 8 virtual devices
without running it, and works out from its operations and bytes what bounds a
step on a TPU v5e-256 and on 8 H100. That is a model; nothing of it was run.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
import dataclasses
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import accelerators, harness, programs
from configs import protopnet_photos
from protojax import methods, parallel
from protojax.data.source import subset
from protojax.engine import descent
from protojax.engine.checkpoint import flatten
from protojax.explain import sweep
from protojax.modify import presets
from protojax.prototypes.bank import bank_of
from protojax.types import PyTree, State

_DEVICES = (1, 2, 4, 8)
_BATCH, _IMAGES = 48, 96


def _method(sharded: bool, quick: bool) -> tuple[Any, State]:
  config = protopnet_photos.get_config().unlock()
  config.update_from_flattened_dict(
    {
      "backbone.name": "convnet" if quick else "resnet18",
      "backbone.pretrained": False,
      "batch_size": _BATCH,
      "data.image_size": 64,
      "joint.train_norm": True,
      "prototypes.per_class": 16,
      "prototypes.sharded": sharded,
    }
  )
  method = methods.load(config.lock())
  for split in ("train", "test"):
    source = method.stream(split).source
    some = np.linspace(0, len(source) - 1, _IMAGES).astype(np.int32)
    method.dataset.sources[split] = subset(source, some)
  state = jax.jit(method.init)(parallel.init_key(0))
  return method, parallel.to_host(state)


def _step(sharded: bool, quick: bool) -> PyTree:
  method, state = _method(sharded, quick)
  fit = next(s for s in method.stages() if s.name == "joint")
  moments = fit.optimizer.init(state.params)
  update = next(descent.fit(fit, state, moments, parallel.key(0)))
  # A tenth of the gradient, and a thousandth of its square.
  _, moments = update.on_host(fit.sharding)
  return {"loss": update.metrics["loss"], "moments": moments}


def _push(sharded: bool, quick: bool) -> PyTree:
  method, state = _method(sharded, quick)
  pushed, _ = method.push(state, method.stream("train"))
  provenance = bank_of(pushed).provenance
  places = provenance.image.astype(float), provenance.cell.astype(float)
  return {"prototypes": pushed.params["prototypes"], "places": places}


def _explanation(sharded: bool, quick: bool) -> PyTree:
  method, state = _method(sharded, quick)
  batches = method.stream("test").batches()
  preset = presets.load("contrast=0.45", "fast", "none")
  provenance = np.full(len(bank_of(state).alive), -1, np.int32)
  *_, totals = sweep.sweep(
    method.network, state, batches, preset, provenance=provenance
  )
  named = ("importance", "relative", "distance", "similarity")
  return {name: getattr(totals.all, name) for name in named}


_WORK: dict[str, tuple[Callable[[bool, bool], PyTree], bool]] = {
  "joint step": (_step, False),
  "joint step, in parts": (_step, True),
  "push": (_push, False),
  "push, in parts": (_push, True),
  "explanation": (_explanation, False),
}


def _work(folder: Path, quick: bool) -> None:
  """All work on the devices of this process, left in a folder."""
  for number, (function, sharded) in enumerate(_WORK.values()):
    with programs.recorded() as recorded:
      found = function(sharded, quick)
    # One step takes a batch through each.
    program = programs.total(recorded)
    np.savez(folder / f"{number}.npz", **flatten(found))
    (folder / f"{number}.json").write_text(
      json.dumps(dataclasses.asdict(program))
    )


def devices(quick: bool) -> Iterator[harness.Row]:
  """Every work on every number of devices, each number in its own process."""
  with tempfile.TemporaryDirectory() as base:
    for count in _DEVICES:
      folder = Path(base) / str(count)
      folder.mkdir()
      command = [sys.executable, __file__, "--worker", str(folder)]
      subprocess.run(
        command + ["--quick"] * quick,
        check=True,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": str(count)},
      )
    for number, name in enumerate(_WORK):
      for count in _DEVICES:
        yield _row(Path(base), number, f"{name}, {count}", count)


def _row(base: Path, number: int, name: str, count: int) -> harness.Row:
  found, one = (
    np.load(base / str(n) / f"{number}.npz") for n in (count, _DEVICES[0])
  )
  program = programs.Program(
    **json.loads((base / str(count) / f"{number}.json").read_text())
  )
  pairs = [(found[key], one[key]) for key in one.files]
  return {
    "row": name,
    "largest": f"{max(_difference(*pair, np.inf) for pair in pairs):.1e}",
    "of all": f"{_difference(*map(_flat, zip(*pairs, strict=True))):.1e}",
    "GFLOP": round(program.flops / 1e9, 3),
    **{
      f"{kind}: n, sent kB": f"{program.sent[kind][0]},"
      f" {program.sent[kind][1] / 1e3:,.1f}"
      for kind in programs.KINDS
    },
  }


def _flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
  return np.concatenate([x.ravel().astype(float) for x in arrays])


def _difference(
  found: np.ndarray, one: np.ndarray, norm: float | None = None
) -> float:
  """Norm of the difference by the norm, of what is a number in both."""
  both = np.isfinite(one)
  np.testing.assert_array_equal(np.isfinite(found), both)
  found, one = _flat([found[both]]), _flat([one[both]])
  apart, size = np.linalg.norm(found - one, norm), np.linalg.norm(one, norm)
  return float(apart / size) if size else float(apart)


def main() -> None:
  """Prints the tables that were asked for."""
  tables = {"devices": devices, "model": accelerators.model}
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("only", nargs="*", metavar="NAME", help=", ".join(tables))
  parser.add_argument("--quick", action="store_true", help="a smaller backbone")
  parser.add_argument("--json", default="", metavar="FILE")
  parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if unknown := sorted(set(args.only) - set(tables)):
    parser.error(f"{', '.join(unknown)}: there are {', '.join(tables)}")
  parallel.setup()
  if args.worker:
    _work(args.worker, args.quick)
    return
  jax.config.update("jax_num_cpu_devices", accelerators.COMPILED_FOR)
  print(f"{harness.machine()}\n")
  for name in args.only or tables:
    harness.tell(tables[name](args.quick), args.json)


if __name__ == "__main__":
  main()
