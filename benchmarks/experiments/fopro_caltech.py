"""FoPro on photographs: 30 % flipped labels, and 120 of none of the classes.

The folder is made by `benchmarks/web.py`. "plain" and "by loss" have the same
few-shot images among the web's, and as many passes.
"""

from benchmarks import experiment

QUESTION = "What does FoPro add on photographs with many wrong labels?"

_FILE = "configs/fopro_folder.py"
_HERE = {
  "data.root": "caltech101_web",
  # Small images and few epochs: a step of FoPro is nearly three of plain ones.
  "data.image_size": 64,
  "data.resize_size": 72,
  "queue.size": 256,
  "queue.momentum": 0.95,
  "prototypes.momentum": 0.99,
  "network.hidden": 256,
  "loss.alpha": 0.8,
  "loss.auxiliary": 0.1,
  "loss.prototype": 0.5,
  "loss.instance": 0.2,
  "stages.frozen": 0,
  "stages.start": 2,
  "stages.contrast": 1,
  "stages.relate": 1,
  "stages.clean": 2,
  "stages.plan": 5,
  "plain.epochs": 6,
  "optimizer.rate": 3e-4,
  "optimizer.relation": 1e-3,
}


def _arm(shots: int, baseline: str = "") -> tuple[str, dict]:
  return _FILE, {**_HERE, "data.shots": shots, "baseline": baseline}


ARMS = {
  f"{name}, K = {shots}": _arm(shots, baseline)
  for shots in (1, 16)
  for name, baseline in (("plain", "plain"), ("FoPro", ""), ("by loss", "loss"))
}

FIGURES = {
  "accuracy": "metrics.accuracy",
  "noise AUROC": "noise_auroc",
  "of the loss": "noise_auroc_loss",
  "precision": "noise_precision",
  "recall": "noise_recall",
  "recovered": "recovered",
}

SEEDS = (0, 1, 2)


def MEASURE(workdir, data):
  """The summary; an arm may find no noise."""
  return {"noise_precision": None, **experiment.summary(workdir, data)}


def TABLE(found):
  """A row for each arm, and its accuracy less that of plain training."""
  return experiment.paired(found, _plain, "accuracy, less plain")


def _plain(arm):
  """The arm with the same few-shot images."""
  _, shots, number = arm.partition("K = ")
  return f"plain, {shots}{number.partition(',')[0]}"
