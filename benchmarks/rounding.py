"""Rounding or a fault: one run on other devices, in float32 and in float64.

python benchmarks/rounding.py [METHOD ...]

Trains a small run of each method through all its stages: on one device, on two,
and in two processes of one. Prints how far the final states are apart: the
largest difference of any array, by that array's largest number. If the devices
only add in another order, the differences in float64 are some billion times
smaller than in float32, and the same images are pushed and pruned by. A fault,
such as statistics of one device's part of a batch, or noise that depends on the
device, would be as large in both.
"""

import argparse
from collections.abc import Mapping, Sequence
import json
import os
from pathlib import Path
import socket
import subprocess
import sys
import tempfile

import numpy as np

_ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(_ROOT))

PRECISIONS = ("float32", "float64")
# Name -> (devices of each process, processes).
LAYOUTS = {"1 device": (1, 1), "2 devices": (2, 1), "2 processes": (1, 2)}
# All of a model moves, by gradients of augmented images where the method has
# such, and BatchNorm takes the batch where it can.
RUNS: Mapping[str, tuple[str, ...]] = {
  "protopnet": (
    "--config=configs/protopnet_photos.py:debug",
    "--config.warm.epochs=3",
    "--config.joint.epochs=6",
    "--config.joint.train_norm=True",
    "--config.last.solver=adam",
    "--config.rounds=2",
  ),
  "st_protopnet": (
    "--config=configs/st_protopnet_photos.py:debug",
    "--config.joint.epochs=3",
    "--config.joint.train_norm=True",
    "--config.last.epochs=1",
  ),
  "inp_former": (
    "--config=configs/inp_former_textures.py:debug",
    "--config.epochs=4",
  ),
  "epic": ("--config=configs/epic_folder.py:debug",),
  "csr": (
    "--config=configs/csr_composites.py:debug",
    "--config.concepts.backbone=1e-3",
    "--config.concepts.train_norm=True",
  ),
}


def train(
  flags: Sequence[str], workdir: Path, precision: str, layout: str
) -> None:
  """Trains a run in processes of its own.

  Args:
    flags: of `train.py`.
    workdir: of the run.
    precision: one of `PRECISIONS`.
    layout: one of `LAYOUTS`.

  Raises:
    RuntimeError: a process failed; with what it said.
  """
  devices, processes = LAYOUTS[layout]
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  command = [sys.executable, __file__, "--precision", precision]
  command += [f"--workdir={workdir}", *flags]
  started = []
  for number in range(processes):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    if processes > 1:
      environment |= {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(number),
      }
    started.append(
      subprocess.Popen(
        [*command, *["--distributed"] * (processes > 1)],
        cwd=_ROOT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
      )
    )
  said = [process.communicate()[0] for process in started]
  if any(process.returncode for process in started):
    raise RuntimeError("\n".join(said))


def apart(one: Path, other: Path) -> tuple[float, list[str]]:
  """How far the final states of two runs are apart.

  Returns:
    The largest difference of any array of floats by its largest number; and
    the names of other arrays that differ, such as the images of the last push.
  """
  from protojax.engine.checkpoint import Checkpoints

  states = [Checkpoints(folder).restore()[1] for folder in (one, other)]
  largest, others = 0.0, []
  for name, a in states[0].items():
    a, b = np.asarray(a), np.asarray(states[1][name])
    # A digest of the bits of all parameters.
    if not name.startswith("state.") or name.endswith(".embedder"):
      continue
    if a.dtype.kind != "f":
      others += [name] * (not np.array_equal(a, b))
      continue
    known = np.isfinite(a)
    np.testing.assert_array_equal(known, np.isfinite(b))
    if np.any(a[known]):
      off = np.abs(a[known] - b[known]).max() / np.abs(a[known]).max()
      largest = max(largest, float(off))
  return largest, others


def ends(workdir: Path) -> dict[str, float]:
  """The metrics of a run on its test images."""
  return json.loads((workdir / "summary.json").read_text())["metrics"]


def _steps(workdir: Path) -> int:
  from protojax.engine.checkpoint import Checkpoints

  return Checkpoints(workdir).progress().total_steps


def _worker(precision: str, flags: Sequence[str]) -> int:
  """`train.py` in this process, with arrays of a precision."""
  import jax
  import jax.numpy as jnp

  if precision == "float64":
    jax.config.update("jax_enable_x64", True)
    # Layers, optimisers and sweeps take the type from here, some of them as a
    # default: it must be another one before they are imported.
    jnp.float32 = jnp.float64
  from protojax import cli
  from protojax.parallel import passes

  class Sweep(passes.Sweep):
    """A sweep whose carry is float64, too."""

    def __init__(self, step, state, carry, *sharding):
      super().__init__(step, state, jax.tree.map(_widened, carry), *sharding)

  if precision == "float64":
    passes.Sweep = Sweep
  return cli.run("train", list(flags), "train.py")


def _widened(x):
  x = np.asarray(x)
  return x.astype(np.float64) if x.dtype == np.float32 else x


def _rows(method: str) -> None:
  """Prints a method's rows of the table."""
  for precision in PRECISIONS:
    with tempfile.TemporaryDirectory() as root:
      places = {name: Path(root, name.replace(" ", "-")) for name in LAYOUTS}
      for name, place in places.items():
        train(RUNS[method], place, precision, name)
      first, *others = places.values()
      found = [apart(first, other) for other in others]
      same = all(not names for _, names in found)
      print(
        f"| {method} | {_steps(first)} | {precision} |",
        " | ".join(f"{off:.1e}" for off, _ in found),
        f"| {'yes' if same else 'no'} |",
        flush=True,
      )


def main() -> int:
  """Trains and prints the table; or, with --precision, is one of the runs."""
  if sys.argv[1:2] == ["--precision"]:
    return _worker(sys.argv[2], sys.argv[3:])
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("methods", nargs="*", metavar="METHOD", default=[*RUNS])
  args = parser.parse_args()
  _, *others = LAYOUTS
  print(f"| method | steps | type | {' | '.join(others)} | same places |")
  print("|---|---|---|---|---|---|")
  for method in args.methods:
    _rows(method)
  return 0


if __name__ == "__main__":
  sys.exit(main())
