"""What the benchmarks share: training without files, turns, tables."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path
import platform
import statistics
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from protojax import methods, parallel
from protojax.engine import descent, stage
from protojax.types import State

Row = dict[str, Any]
REPEATS = 5

# Distribution -> module.
_PACKAGES = {
  "protojax": "protojax",
  "jax": "jax",
  "opencv-python-headless": "cv2",
  "torch": "torch",
  "cabrnet": "cabrnet",
}


def train(
  config: ConfigDict,
  after: Callable[[str, Any, State], None] = lambda name, method, state: None,
  make: Callable[[ConfigDict], Any] = methods.load,
) -> tuple[Any, State]:
  """A method through all its stages, without files.

  Args:
    config: of the run.
    after: called with the name of each stage that is done, the method and its
      state.
    make: gives the method of a config.
  """
  method = make(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(config.seed)))
  moments: dict[str, Any] = {}
  for number, step in enumerate(method.stages(), 1):
    if isinstance(step, stage.Pass):
      state, _ = step.sweep(state, step.data)
      after(step.name, method, state)
      continue
    key = jax.random.fold_in(parallel.key(config.seed), number)
    shared = step.optimizer_id or str(number)
    begun = moments.get(shared) or step.optimizer.init(state.params)
    for update in descent.fit(step, state, begun, key):
      last = update
    state, moments[shared] = last.on_host(step.sharding)
    after(step.name, method, state)
  return method, state


class Unread:
  """A source of images for what is compiled or given features: none is read.

  Attributes:
    class_names: of its classes.
    labels: all of the first class.
  """

  def __init__(self, class_names: tuple[str, ...], count: int) -> None:
    self.class_names = class_names
    self.labels = np.zeros(count, np.int32)

  def __len__(self) -> int:
    return len(self.labels)


def changed(
  module: Any, variants: str, seed: int, changes: Mapping[str, Any]
) -> ConfigDict:
  """A config of a module in `configs`, with a seed and some keys changed."""
  config = module.get_config(variants).unlock()
  config.seed = seed
  config.update_from_flattened_dict(dict(changes))
  return config.lock()


def over_seeds(
  count: int, measure: Callable[[int], Mapping[str, Mapping[str, float]]]
) -> Iterator[Row]:
  """Rows of means and deviations of what is measured at every seed.

  Args:
    count: seeds 0..count - 1.
    measure: seed -> name of a row -> name of a figure -> its value.
  """
  found: dict[str, dict[str, list[float]]] = {}
  for seed in range(count):
    for name, figures in measure(seed).items():
      row = found.setdefault(name, {})
      for figure, value in figures.items():
        row.setdefault(figure, []).append(value)
  for name, row in found.items():
    yield {"row": name, **{k: spread(values) for k, values in row.items()}}


def spread(values: Sequence[float]) -> str:
  """Mean and, of several, the standard deviation (of a sample)."""
  mean = statistics.mean(values)
  digits = 3 if abs(mean) < 10 else 1
  if len(values) == 1:
    return f"{mean:.{digits}f}"
  return f"{mean:.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def in_turns(runs: Mapping[str, Iterator[float]], images: int) -> Iterator[Row]:
  """Medians of what each run yields, taken in turns; ratios to the first.

  Args:
    runs: name -> seconds, again and again; the first ones, which compile, are
      not counted.
    images: that each takes.
  """
  for run in runs.values():
    next(run)
  taken: dict[str, list[float]] = {name: [] for name in runs}
  for _ in range(REPEATS):
    for name, run in runs.items():
      taken[name].append(next(run))
  first = statistics.median(next(iter(taken.values())))
  for name, seconds in taken.items():
    median = statistics.median(seconds)
    yield {
      "row": name,
      "images/s": round(images / median, 1),
      "ratio": round(median / first, 2),
    }


def calls(function: Callable[..., Any], *inputs: Any) -> Iterator[float]:
  """Seconds of a call, again and again."""
  while True:
    began = time.perf_counter()
    jax.block_until_ready(function(*inputs))
    yield time.perf_counter() - began


def main(
  doc: str,
  benchmarks: Mapping[str, Callable[[argparse.Namespace], Iterable[Row]]],
  root: str,
) -> None:
  """Runs one benchmark and prints its table as its rows come.

  Args:
    doc: of the script.
    benchmarks: name -> arguments -> rows.
    root: what --root is a folder of, and what is taken without it.
  """
  parser = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("which", choices=list(benchmarks))
  parser.add_argument("--root", default="", metavar="DIR", help=root)
  parser.add_argument(
    "--variants", default="", help="of the config, such as debug"
  )
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--json", default="", metavar="FILE")
  args = parser.parse_args()
  parallel.setup()
  tell(benchmarks[args.which](args), args.json)


def tell(found: Iterable[Row], file: str = "") -> list[Row]:
  """Prints a table as its rows come; writes them to a JSON file, if named.

  Returns:
    The rows.
  """
  rows = []
  for row in found:
    print(markdown(row, head=not rows), end="", flush=True)
    rows.append(row)
  if file:
    content = {"rows": rows, "machine": machine(), "versions": versions()}
    Path(file).write_text(json.dumps(content, indent=2))
  return rows


def markdown(row: Row, head: bool) -> str:
  """The line of a row in a table, below the names of its columns if asked."""
  lines = [row.values()]
  if head:
    lines = [row, ["---"] * len(row), *lines]
  return "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines)


def machine() -> str:
  """What the benchmark runs on: processor, threads, devices, system."""
  processor = _of_processor("model name")
  threads = len(os.sched_getaffinity(0))
  return f"{processor}, {threads} threads; {parallel.describe()}"


def maker() -> str:
  """Who made the processor, such as "GenuineIntel"."""
  return _of_processor("vendor_id")


def peak() -> int:
  """Most bytes that this process had in memory so far."""
  return _of_status("VmHWM")


def resident() -> int:
  """Bytes that this process has in memory."""
  return _of_status("VmRSS")


def _of_status(fact: str) -> int:
  """A size in /proc/self/status, which only Linux has; 0 elsewhere."""
  status = Path("/proc/self/status")
  lines = status.read_text().splitlines() if status.exists() else []
  found = [line.split()[1] for line in lines if line.startswith(fact)]
  return 1024 * int(found[0]) if found else 0


def _of_processor(fact: str) -> str:
  """A fact of /proc/cpuinfo; where there is none, what Python knows."""
  names = Path("/proc/cpuinfo")
  lines = names.read_text().splitlines() if names.exists() else []
  found = [x.split(":")[1].strip() for x in lines if x.startswith(fact)]
  return found[0] if found else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
  """Of what is measured and of what it is measured against."""
  return {
    name: importlib.metadata.version(name)
    for name in _PACKAGES
    if importlib.util.find_spec(_PACKAGES[name])
  }
