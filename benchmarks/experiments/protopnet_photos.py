"""ProtoPNet on the embedded photographs: what `train.py` alone trains."""

from benchmarks import experiment

QUESTION = "What does train.py reach where no config is given?"

ARMS = {"ProtoPNet": ("configs/protopnet_photos.py", {})}

FIGURES = {
  "before the push": "accuracy.before_push",
  "after the push": "accuracy.after_push",
  "after the last layer": "accuracy.after_last_layer",
  "after pruning and last layer": "accuracy.after_prune",
  "prototypes alive, of 65": "alive",
}

SEEDS = (0, 1, 2)

TABLE = experiment.by_seed
