"""Does any likeness to GAPL's prototypes tell what a model has never seen?

python benchmarks/likeness.py RUN --others=DIR

RUN is one of `configs/gapl_patches.py` with families held out for the
threshold. Known are new patches of its training photographs, real ones and
those of its training families. AUROC of each likeness: how often it is larger
for a known image than for one of a set; 0.5 says nothing.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
import sys
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import harness
from protojax import loading, parallel
from protojax.data import stream
from protojax.data.source import subset
from protojax.datasets import families, files, regenerated
from protojax.metrics import ranking
from protojax.prototypes import bank

# Patches that no run is trained on, and how many of a kind are asked for.
_FIRST, _COUNT, _MOST = 10_000, 14_000, 600


def _likenesses(method: Any, state: Any, config: Any, source: Any) -> Any:
  """Likeness -> its value for each image."""
  data = stream.ordered(
    source, loading.image_size(config), 60, resizing=loading.resizing(config)
  )

  def measure(state: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    found = method.network.forward(state, batch["image"])
    prototypes = bank.vectors(state.params)[:, 0, 0]
    cosines = found.embedding @ prototypes.T
    return {
      "largest cosine, either sign": abs(cosines).max(axis=1),
      "length along all prototypes": (cosines**2).sum(axis=1) ** 0.5,
      "largest attention": found.attention.max(axis=1),
      "logit, either sign": abs(found.logit),
    }

  rows: dict[str, list[np.ndarray]] = {}
  for batch, found in parallel.each(measure, state, data.batches()):
    for name, values in found.items():
      rows.setdefault(name, []).append(values[batch["valid"].astype(bool)])
  return {name: np.concatenate(values) for name, values in rows.items()}


def _auroc(known: np.ndarray, others: np.ndarray) -> float:
  labels = np.arange(len(known) + len(others)) < len(known)
  return ranking.auroc(labels, np.concatenate([known, others]))


def main() -> None:
  """Prints a row for each likeness."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("run", type=Path, metavar="RUN")
  parser.add_argument("--others", required=True, metavar="DIR")
  args = parser.parse_args()
  parallel.setup()
  method, state, config = loading.load(args.run)
  train = method.stream("train").source
  of_run = {train.name(i).split("-")[2] for i in range(len(train))}
  patches = regenerated.Patches("train", _COUNT, families.TRAINED, config.seed)
  new = np.arange(_COUNT) >= _FIRST
  own = np.isin([patches.generator_names[g] for g in patches.groups], [*of_run])
  test = method.stream("test").source
  made = np.array([test[i]["label"] for i in range(len(test))]) == 1
  sets = {
    "known": subset(patches, np.flatnonzero(new & own)[:_MOST]),
    "other families": subset(
      patches, np.flatnonzero(new & ~own & (patches.labels == 1))[:_MOST]
    ),
    "other families and photographs": subset(test, np.flatnonzero(made)),
    "real, other photographs": subset(test, np.flatnonzero(~made)),
    "of none of these": files.images(args.others),
  }
  found = {
    name: _likenesses(method, state, config, source)
    for name, source in sets.items()
  }
  known = found.pop("known")
  harness.tell(
    [
      {
        "likeness": name,
        **{
          of: f"{_auroc(values, rows[name]):.3f}" for of, rows in found.items()
        },
      }
      for name, values in known.items()
    ]
  )


if __name__ == "__main__":
  main()
