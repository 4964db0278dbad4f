"""The methods that classify, side by side on photographs (docs/evaluating.md).

`evaluate --methods` prints the same table for images of one's own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.experiment import Found, columns
from protojax.evaluation import measure

QUESTION = "How do the methods differ on twelve classes of Caltech-101?"

_CHANGES = {
  "data.root": "caltech101_mini",
  "data.image_size": 128,
  "backbone.name": "efficientnet_lite0",
}

ARMS = {
  name: (f"configs/{name}_folder.py", _CHANGES)
  for name in ("protopnet", "st_protopnet", "csr", "epic")
}

# Those that photographs without places of objects have.
FIGURES = {
  name: f"{name}.value"
  for name in (
    "accuracy",
    "calibration_error",
    "outlier_auroc",
    "abstention",
    "global_size",
    "local_size",
    "prediction_size",
    "prediction_sparsity",
    "sparsity",
    "uniqueness",
    "deletion",
    "insertion",
    "drop_focus",
    "drop_dual",
    "same_cells",
  )
}

SEEDS = (0,)

SETTINGS = {"images": 50, "outliers": "caltech101_mini_ood"}


def _judged(
  workdir: Path, data: Path, images: int, outliers: str
) -> Mapping[str, Any]:
  """All metrics of one run."""
  found = measure.measure(workdir, str(data / outliers), images)
  return {name: mean._asdict() for name, mean in found.items()}


def _by_metric(found: Found) -> Iterator[harness.Row]:
  """A row for each metric, a column for each method."""
  for name in FIGURES:
    shown = measure.FIGURES[name]
    row = {"metric": shown.title, "better": shown.better}
    for arm, of_seeds in found.items():
      row[arm] = harness.spread(columns(of_seeds)[name])
    yield row


MEASURE = _judged

TABLE = _by_metric
