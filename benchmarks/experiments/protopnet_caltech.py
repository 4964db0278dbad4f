"""ProtoPNet on photographs by the recipe for folders (docs/protopnet.md)."""

from benchmarks import experiment

QUESTION = "What does the recipe for folders reach on twelve classes?"

ARMS = {
  "ProtoPNet": ("configs/protopnet_folder.py", {"data.root": "caltech101_mini"})
}

FIGURES = {
  "before the push": "accuracy.before_push",
  "after the push": "accuracy.after_push",
  "after last layer, pruning and last layer": "accuracy.after_prune",
  "prototypes alive, of 120": "alive",
}

SEEDS = (0, 1, 2)

TABLE = experiment.by_seed
