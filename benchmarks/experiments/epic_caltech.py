"""Ways to find EPIC's U on photographs (docs/classifiers.md)."""

from benchmarks import epic_solvers

QUESTION = "Which U is purest on Lite0's last stage, which has no ReLU?"

_FIXED = {
  "data.root": "caltech101_mini",
  "data.image_size": 128,
  "backbone.name": "efficientnet_lite0",
  # The head is of no concern here.
  "probe.epochs": 1,
}

_ORTHOGONAL = "closed form, turned alone, with inertia (orthogonal)"
ARMS = {
  name: ("configs/epic_folder.py", {**changes, **_FIXED})
  for name, changes in {
    **epic_solvers.SOLVERS,
    _ORTHOGONAL: {"rotation.kind": "orthogonal"},
  }.items()
}

FIGURES, MEASURE = epic_solvers.FIGURES, epic_solvers.measured

SEEDS = (0,)
