"""Step 3 of IRCA beside SciPy's least squares, and whole fits of pixels.

python benchmarks/irca.py [--root DIR] [--items N] [--pixels N]

SciPy is called as the authors' code calls it: `least_squares` with its
defaults, one interferometer after the other, on coefficients of powers of the
wavenumber. Both begin with the same start and fit the same model (Airy's
distribution, reflectivity not bounded, degree 5). Without --root both fit the
embedded device. Wall time and processor time are the least of some repeats, in
turns.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
import sys
import time
from typing import Any

import jax
import numpy as np
from scipy import optimize

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from configs import irca_folder
from protojax import methods, parallel
from protojax.methods.irca import results, settings

_REPEATS = 5
_ORDER = 6  # coefficients of a polynomial


def _begun(root: str) -> tuple[Any, Any]:
  """A method, and its state after steps 1 and 2."""
  config = irca_folder.get_config("parity" if root else "parity,debug")
  with config.unlocked():
    config.data.root = root
    config.preset = Path(root).name if root else ""
    config.degrees.update(reflectivity=_ORDER - 1, gain=_ORDER - 1)
  method = methods.load(config)
  state = parallel.to_host(jax.jit(method.init)(parallel.init_key(0)))
  for stage in list(method.stages())[:2]:
    state, _ = stage.sweep(state, stage.data)
  return method, state


def _residual(u: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
  """As the authors' code computes it."""
  polynomial = np.polynomial.Polynomial
  r, gain = polynomial(u[2 : 2 + _ORDER])(s), polynomial(u[2 + _ORDER :])(s)
  phase = 2 * np.pi * s * u[0] - u[1]
  below = (1 - r) ** 2 + 4 * r * np.sin(phase / 2) ** 2
  return gain * (1 - r) * (1 + r) / below - y


def _timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
  wall, own = time.perf_counter(), time.process_time()
  made = function()
  return time.perf_counter() - wall, time.process_time() - own, made


def _rows(root: str, items: int, pixels: int) -> Iterator[harness.Row]:
  method, state = _begun(root)
  source, made = method.source, state.params["interferometers"]
  rows = np.linspace(0, len(source) - 1, min(items, len(source))).astype(int)
  level = source.data[rows].mean(axis=1, keepdims=True)
  curves = source.data[rows] / level
  ends = method.model.ends
  begin = np.concatenate(
    [
      made["opd"][rows, None],
      made["phase"][rows, None],
      results.powers(made["reflectivity"][rows], ends),
      results.powers(made["gain"][rows] / level, ends),
    ],
    axis=1,
  )

  def scipy() -> list[float]:
    return [
      optimize.least_squares(_residual, u, args=(source.wavenumbers, y)).cost
      for u, y in zip(begin, curves, strict=True)
    ]

  def repeated(count: int) -> Callable[[], np.ndarray]:
    chosen = np.resize(rows, count)
    given = {name: x[chosen] for name, x in made.items()}
    given["line"] = given["opd"]
    given["flags"] = np.zeros(count, np.int32)
    given["data"] = np.asarray(source.data)[chosen]

    def ours() -> np.ndarray:
      with jax.enable_x64(True):
        found = jax.block_until_ready(step(given))
      return 0.5 * len(source.wavenumbers) * np.square(found["rmse"])

    return ours

  numbers = settings.numbers(method.config, method.model)
  step = jax.jit(lambda given: method._refine(numbers, given))
  ours, many = repeated(len(rows)), repeated(pixels)
  ours(), many()
  found = {"SciPy": [], "protojax": [], "protojax, pixels": []}
  for turn in range(_REPEATS):
    if turn < 2:
      found["SciPy"].append(_timed(scipy))
    found["protojax"].append(_timed(ours))
    found["protojax, pixels"].append(_timed(many))
  first = min(wall for wall, _, _ in found["SciPy"]) / len(rows)
  own = min(used for _, used, _ in found["SciPy"]) / len(rows)
  for name, timed in found.items():
    count = pixels if "pixels" in name else len(rows)
    wall, used = (min(t[n] for t in timed) / count for n in (0, 1))
    yield {
      "step 3": name,
      "items": count,
      "items/s": f"{1 / wall:,.0f}",
      "ratio": f"{first / wall:.1f}",
      "ratio of processor time": f"{own / used:.1f}",
      "mean cost": f"{np.mean(timed[0][2]):.6g}",
    }


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--root", default="", metavar="DIR")
  parser.add_argument("--items", type=int, default=64)
  parser.add_argument("--pixels", type=int, default=4096)
  args = parser.parse_args()
  parallel.setup()
  harness.tell(_rows(args.root, args.items, args.pixels))


if __name__ == "__main__":
  main()
