"""What `accelerators.py run` does on a device, in the order of importance."""

import argparse
from collections.abc import Iterator
import json
import os
import time
from typing import Any

import jax
import numpy as np

from benchmarks import device_checks, device_rows, harness, on_device
from protojax import methods, parallel

_STAGES = "stages-"
# On CPU all methods would take many minutes; this one stands for all. Other
# programs may have the processor: limits of time are for the device.
_QUICK_STAGES, _QUICK_TIMES = "irca", 10


def tasks(quick: bool) -> list[on_device.Task]:
  """All of them: checks, those of the methods last, then rows."""
  names = sorted(methods.names(), key=lambda name: name != "protopnet")
  stages = [_QUICK_STAGES] if quick else names
  times = _QUICK_TIMES if quick else 1
  return [
    *(
      on_device.Task(name, 120 * times, beside, check=True)
      for name, (_, beside) in device_checks.CHECKS.items()
    ),
    *(
      on_device.Task(_STAGES + name, 240 * times, beside=True, check=True)
      for name in stages
    ),
    *(
      on_device.Task(name, seconds * times)
      for name, (_, seconds) in device_rows.ROWS.items()
    ),
  ]


def work(args: argparse.Namespace) -> int:
  """One task in this process; 1 if a check of it does not hold."""
  until = time.monotonic() + args.until
  parallel.setup()
  journal, held = on_device.Journal(args.json), True
  try:
    for row in _rows(args, until):
      journal.add(row)
      held = (held and row.get("met") != "no") or "target" in row
  except ModuleNotFoundError as error:
    # The other side of a row, such as PyTorch, is not installed.
    missing = f"not measured: {error.name} is not installed"
    journal.add({"row": args.task, "result": missing})
  return 0 if held else 1


def _rows(args: argparse.Namespace, until: float) -> Iterator[harness.Row]:
  if args.task == "machine":
    yield _machine(args.quick)
    return
  if args.task in device_rows.ROWS:
    measure, _ = device_rows.ROWS[args.task]
    for pair in measure(args.quick):
      if time.monotonic() > until:
        yield {"row": args.task, "result": "the rest was not reached"}
        return
      yield pair.measure(harness.REPEATS)
    return
  if args.task.startswith(_STAGES):
    name = args.task.removeprefix(_STAGES)
    folder = args.folder / name
    found = device_checks.stages(name, folder, begin=args.role == "cpu")
  else:
    check, beside = device_checks.CHECKS[args.task]
    found = check(args.quick)
    if not beside:
      yield from device_checks.told(args.task, found)
      return
  file = args.folder / f"{args.task}.npz"
  if args.role == "cpu":
    np.savez(file, **found)
    return
  with np.load(file) as expected:
    yield from device_checks.compared(args.task, found, dict(expected))


def _machine(quick: bool) -> harness.Row:
  """What the run works on.

  Raises:
    SystemExit: JAX finds no accelerator.
  """
  if jax.default_backend() == "cpu" and not quick:
    raise SystemExit(
      "JAX finds no accelerator: install jax[cuda12], or try --quick on CPU"
    )
  row: dict[str, Any] = {
    "row": "machine",
    "devices": parallel.describe(),
    "host": harness.machine(),
    "load": round(os.getloadavg()[0], 1),
    "versions": json.dumps(harness.versions()),
    "date": time.strftime("%Y-%m-%d"),
  }
  if statistics := jax.devices()[0].memory_stats():
    row["GB"] = round(statistics.get("bytes_limit", 0) / 1e9, 1)
  return row
