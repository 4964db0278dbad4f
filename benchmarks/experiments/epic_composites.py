"""Ways to find EPIC's U on embedded data (docs/classifiers.md)."""

from benchmarks import epic_solvers

QUESTION = "Does the closed form find as pure channels as the paper's descent?"

# The head is of no concern here.
ARMS = {
  name: ("configs/epic_composites.py", {**changes, "probe.epochs": 1})
  for name, changes in epic_solvers.SOLVERS.items()
}

FIGURES, MEASURE = epic_solvers.FIGURES, epic_solvers.measured

SEEDS = (0, 1, 2)
