"""ProtoPNet on the photographs, its last layer solved or trained.

The backbone is frozen, which makes a run short and all arms alike up to the
last layer: what they differ in is the solver alone.
"""

QUESTION = "Is a last layer that is solved better than one that is trained?"

_FILE = "configs/protopnet_photos.py"
_FROZEN = {"joint.epochs": 0}

ARMS = {
  "solved": (_FILE, {**_FROZEN, "last.solver": "convex"}),
  "Adam, 20 epochs": (
    _FILE,
    {**_FROZEN, "last.solver": "adam", "last.epochs": 20, "prune.epochs": 20},
  ),
}

FIGURES = {
  "after the push": "accuracy.after_push",
  "after the last layer": "accuracy.after_last_layer",
  "after pruning": "accuracy.after_prune",
  "prototypes alive": "alive",
}

SEEDS = (0, 1, 2)
