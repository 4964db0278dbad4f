"""GDAT over bags of 1,000 to 100,000 instances: time and memory.

python benchmarks/comel.py [--most=N]

One block with the paper's sizes (512 channels, 8 heads, 256 groups) on one bag,
forward. Time is the median of three; memory is what XLA's program holds beside
its arguments, of which the result is a part. The scores of all instances at
once, [heads m M] in float32, are printed beside it.
"""

import argparse
from pathlib import Path
import sys
import time

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import parallel
from protojax.methods.comel.network import Network

_SIZES = (1_000, 3_162, 10_000, 31_623, 100_000)
_SIDE, _HEADS, _CHUNK = 16, 8, 4096


def _network() -> Network:
  return Network(
    channels=512,
    width=512,
    heads=_HEADS,
    blocks=1,
    hidden=2048,
    scorer=256,
    side=_SIDE,
    grouping="region",
    chunk=_CHUNK,
    tasks=1,
    dropout=(0.0, 0.0),
  )


def row(count: int) -> harness.Row:
  """Time and memory of a bag of so many instances."""
  network, rng = _network(), np.random.default_rng(0)
  params = jax.jit(lambda key: network.init(key, None))(parallel.init_key(0))
  given = (
    np.float32(rng.normal(size=(1, count, 512))),
    np.ones((1, count), bool),
    np.float32(rng.random((1, count, 2))),
  )
  program = jax.jit(network.bags).lower(params, *given).compile()
  memory = program.memory_analysis()
  held = memory.temp_size_in_bytes + memory.output_size_in_bytes
  seconds = []
  for _ in range(4):
    began = time.perf_counter()
    jax.block_until_ready(program(params, *given))
    seconds.append(time.perf_counter() - began)
  # The first one warms up.
  median = float(np.median(seconds[1:]))
  scores = 4 * _HEADS * _SIDE**2 * count
  return {
    "instances": f"{count:,}",
    "seconds": f"{median:.3f}",
    "microseconds an instance": f"{1e6 * median / count:.1f}",
    "memory, MB": f"{held / 1e6:,.0f}",
    "kB an instance": f"{held / 1e3 / count:.1f}",
    "all scores at once, MB": f"{scores / 1e6:,.0f}",
  }


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--most", type=int, default=_SIZES[-1])
  args = parser.parse_args()
  parallel.setup()
  harness.tell(row(n) for n in _SIZES if n <= args.most)


if __name__ == "__main__":
  main()
