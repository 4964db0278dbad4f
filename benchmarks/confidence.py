"""How sure right and wrong answers of TCSA-UDA are, on its target.

python benchmarks/confidence.py RUN

Of a trained run: pixels of the target's test images whose answer is at least so
probable, the share of them that is right, and the same of each true class. The
first class, the background, is left out. It reads the target's labels, as
`evaluate` does; nothing is chosen by them.
"""

import argparse
from collections.abc import Iterator
import functools
from pathlib import Path
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import loading, parallel
from protojax.methods.tcsa_uda.network import Network, resized
from protojax.types import Array, Batch, State

_LEAST = (0.0, 0.5, 0.8, 0.9, 0.95)


def rows(method: Any, state: State) -> Iterator[harness.Row]:
  """A row for each probability."""
  network: Network = method.network
  step = functools.partial(_answers, network)
  sure, said, truth = [], [], []
  data = method.stream("test")
  for batch, found in parallel.each(step, state, data.batches()):
    valid = batch["valid"]
    sure.append(found["probability"][valid])
    said.append(found["classes"][valid])
    truth.append(np.asarray(batch["mask"])[valid])
  p, a, y = (np.concatenate(x) for x in (sure, said, truth))
  inside = (y > 0) & (y < network.classes)
  for least in _LEAST:
    kept = inside & (p >= least)
    yield {
      "probability of at least": f"{least:g}",
      "share of the pixels": f"{kept.sum() / inside.sum():.3f}",
      "right": _share((a == y)[kept]),
      **{
        f"of {name}": _share((a == y)[kept & (y == k)])
        for k, name in enumerate(network.class_names)
        if k
      },
    }


def _share(right: np.ndarray) -> str:
  return f"{right.mean():.3f}" if right.size else ""


def _answers(network: Network, state: State, batch: Batch) -> dict[str, Array]:
  """The answer of each pixel, and its probability."""
  seen, _ = network.see(state.params, state.statistics, batch["image"])
  logits = resized(seen.logits, batch["image"].shape[1:3])
  return {
    "classes": jnp.argmax(logits, axis=-1),
    "probability": jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1),
  }


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("run", metavar="RUN", help="workdir of train.py")
  args = parser.parse_args()
  parallel.setup()
  method, state, _ = loading.load(Path(args.run))
  harness.tell(rows(method, state))


if __name__ == "__main__":
  main()
