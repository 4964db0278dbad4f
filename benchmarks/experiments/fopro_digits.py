"""FoPro on the embedded web of digits: few-shot images and cleaning.

All arms of a seed see the same web and the same test images for as many
passes; "plain" and "by loss" have the same few-shot images among the web's.
"""

from benchmarks import experiment

QUESTION = "What do few-shot images and cleaned labels add on a noisy web?"

_FILE = "configs/fopro_digits.py"


def _arm(**changes: object) -> tuple[str, dict]:
  return _FILE, {key.replace("_", ".", 1): x for key, x in changes.items()}


ARMS = {
  "plain, K = 1": _arm(baseline="plain"),
  "FoPro, K = 1": _arm(),
  "by loss, K = 1": _arm(baseline="loss"),
  "plain, K = 16": _arm(baseline="plain", data_shots=16),
  "FoPro, K = 16": _arm(data_shots=16),
  "by loss, K = 16": _arm(baseline="loss", data_shots=16),
  "FoPro, K = 1, nothing cleaned": _arm(cleaning_mode=0),
}

FIGURES = {
  "accuracy": "metrics.accuracy",
  "prototype cosine": "metrics.prototype_cosine",
  "noise AUROC": "noise_auroc",
  "of the loss": "noise_auroc_loss",
  "precision": "noise_precision",
  "recall": "noise_recall",
  "relabelled right": "relabel_accuracy",
  "recovered": "recovered",
}

SEEDS = (0, 1, 2)


def MEASURE(workdir, data):
  """The summary; a baseline has no prototypes, and may relabel nothing."""
  found = experiment.summary(workdir, data)
  metrics = {"prototype_cosine": None, **found["metrics"]}
  none = {"relabel_accuracy": None, "noise_precision": None}
  return {**none, **found, "metrics": metrics}


def TABLE(found):
  """A row for each arm, and its accuracy less that of plain training."""
  return experiment.paired(found, _plain, "accuracy, less plain")


def _plain(arm):
  """The arm with the same few-shot images."""
  _, shots, number = arm.partition("K = ")
  return f"plain, {shots}{number.partition(',')[0]}"
