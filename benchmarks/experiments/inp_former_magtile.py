"""INP-Former on magnetic tiles, beside a memory bank (docs/inp_former.md)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness, inp_former
from benchmarks.experiment import Found, columns
from protojax import loading, methods

QUESTION = "Does INP-Former find more on magnetic tiles than a memory bank?"

ARMS = {
  "INP-Former": (
    "configs/inp_former_magtile.py",
    {"data.root": "magtile_small"},
  )
}

_ROWS = {
  "INP-Former": "own",
  "the same, with the paper's map and score": "paper",
  "memory bank": "bank",
}
_COLUMNS = dict(
  zip(("image AUROC", "pixel AUROC", "AUPRO"), inp_former.SHOWN, strict=True)
)

FIGURES = {
  f"{row}: {column}": f"{key}.{metric}"
  for row, key in _ROWS.items()
  for column, metric in _COLUMNS.items()
}

SEEDS = (0, 1, 2)

# The paper's map and score.
SETTINGS = {"length": 0.0, "share": 0.01}


def _beside_a_bank(
  workdir: Path, data: Path, length: float, share: float
) -> Mapping[str, Any]:
  """Metrics of a run by two maps, and of a memory of its normal tokens."""
  del data  # The run knows where it is.
  method, state, config = loading.load(workdir)
  test = method.stream("test")
  changed = config.copy_and_resolve_references().unlock()
  changed.map.update(length=length, share=share)
  by_paper = methods.load(changed.lock())
  return {
    "own": method.evaluate(state, "test"),
    "paper": by_paper.evaluate(state, "test"),
    "bank": inp_former.memory_bank(method, state, test),
  }


def _by_row(found: Found) -> Iterator[harness.Row]:
  """A row for each way to find defects."""
  (of_seeds,) = found.values()
  values = columns(of_seeds)
  for row in _ROWS:
    spreads = {x: harness.spread(values[f"{row}: {x}"]) for x in _COLUMNS}
    yield {"": row, **spreads}


MEASURE = _beside_a_bank

TABLE = _by_row
