"""CSR on data with labelled concepts, beside a bottleneck (docs/csr.md)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import experiment

QUESTION = "Do concepts by similarity do better than a bottleneck of concepts?"

ARMS = {
  "blood smears, windows of 240 pixels": (
    "configs/csr_bccd.py",
    {"data.root": "bccd"},
  ),
  "composites": ("configs/csr_composites.py", {}),
}

FIGURES = {
  "macro-F1": "metrics.macro_f1",
  "accuracy": "metrics.accuracy",
  "AUROC of the concepts": "metrics.concept_auc",
  "the best cell of a concept lies on it": "metrics.pointing",
  "the highest cell of its map does": "metrics.map_pointing",
  "macro-F1 of a bottleneck on the same features": "bottleneck.macro_f1",
}

SEEDS = (0, 1, 2)


def _beside_a_bottleneck(workdir: Path, data: Path) -> Mapping[str, Any]:
  """What a run says of itself, and a bottleneck on its features."""
  # Imported here: who only reads lines does not wait for it.
  from benchmarks import csr_runs

  trained = csr_runs.Trained(workdir)
  bottleneck, _ = csr_runs.Bottleneck(trained).figures(trained)
  return {**experiment.summary(workdir, data), "bottleneck": bottleneck}


MEASURE = _beside_a_bottleneck
