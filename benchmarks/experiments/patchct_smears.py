"""PatchCT on quarters of blood smears: red, white cells and platelets.

The quarters are made by `benchmarks/smears.py`. All arms train as long; the
plain head is the classifier alone.
"""

from benchmarks import harness

QUESTION = (
  "What do alignment and transport add to a plain head on blood smears?"
)

_FILE = "configs/patchct_folder.py"
_HERE = {
  "data.root": "bccd_quarters",
  "backbone.name": "convnet_local",
  "batch_size": 32,
}


def _arm(align: int, train: int, transport: float) -> tuple[str, dict]:
  epochs = {"align.epochs": align, "train.epochs": train}
  return _FILE, {**_HERE, **epochs, "loss.transport": transport}


ARMS = {
  "plain head": _arm(0, 10, 0.0),
  "aligned for 5 epochs, then λ = 0": _arm(5, 5, 0.0),
  "aligned for 5 epochs, then λ = 0.1": _arm(5, 5, 0.1),
}

FIGURES = {"mAP": "map", "fused mAP": "map_fused", "CF1": "cf1", "OF1": "of1"}

SEEDS = (0, 1, 2)

_BASE = "plain head"


def TABLE(found):
  """A row for each arm: means, and the difference to the plain head."""
  base = found.get(_BASE, {})
  for arm, of_seeds in found.items():
    row = {"arm": arm, "seeds": len(of_seeds)}
    for name in FIGURES:
      row[name] = harness.spread([x[name] for x in of_seeds.values()])
    apart = [
      x["mAP"] - base[s]["mAP"] for s, x in of_seeds.items() if s in base
    ]
    row[f"mAP, less {_BASE}"] = harness.spread(apart) if apart else ""
    yield row
