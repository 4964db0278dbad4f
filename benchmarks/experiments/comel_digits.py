"""CoMEL on three tasks of digit bags: who forgets, and what labels are worth.

All arms see the same bags in the same order. A figure "at the end" is the mean
over the three tasks after the last one.
"""

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

QUESTION = "What do OWLoRA's orthogonal adapters and BPPL's pseudo labels do?"

_FILE = "configs/comel_digits.py"
# A run must take a minute of processor time at most.
_SHORT = {
  "train.epochs": 8,
  "train.rate": 2e-3,
  "data.bags": 80,
  "data.most": 128,
}


def _arm(**changes: object) -> tuple[str, dict[str, object]]:
  named = {name.replace("__", "."): value for name, value in changes.items()}
  return _FILE, {**_SHORT, **named}


ARMS = {
  "OWLoRA, W_0 protected": _arm(),
  "fine-tuning": _arm(baseline="finetune"),
  "OWLoRA, W_0 not protected": _arm(adapters__protect=False),
  "LoRA": _arm(adapters__mode="none"),
  "gradients projected": _arm(adapters__mode="gradproj"),
  "OWLoRA, no pseudo labels": _arm(bppl__weight=0.0),
  "OWLoRA, the authors' labels": _arm(
    bppl__features="plain", bppl__temperature=1.0
  ),
  "ABMIL, fine-tuning": _arm(baseline="abmil"),
  "OWLoRA, strided groups": _arm(network__grouping="strided"),
}

FIGURES = {
  "accuracy at the end": "stream.accuracy.average",
  "forgetting": "stream.accuracy.forgetting",
  "task known": "stream.accuracy_of_known_task.average",
  "instance AUC": "stream.instance_auc.average",
  "instance F1": "stream.instance_f1.average",
  "labelled": "labelled",
  "rightly": "rightly",
  "as positive": "positive",
  "rightly as positive": "true",
}


def _shares(workdir: Path, data: Path) -> Mapping[str, Any]:
  """The summary, and shares of the instances of positive training bags.

  Of those that have a pseudo label, rightly, and a positive one, rightly; means
  over the tasks, each when it has just been learned. 0 without a label.
  """
  del data
  found = json.loads((workdir / "summary.json").read_text())
  kept = [s["metrics"] for s in found["stages"] if "-keep-" in s["id"]]

  def mean(*names: str) -> float:
    shares = []
    for metrics in kept:
      share = 1.0
      for name in names:
        share *= metrics.get(name, 0.0)
      shares.append(share)
    return sum(shares) / len(shares)

  return {
    **found,
    "labelled": mean("kept"),
    "rightly": mean("kept", "kept_right"),
    "positive": mean("kept", "kept_positive"),
    "true": mean("kept", "kept_positive", "positive_right"),
  }


MEASURE = _shares

SEEDS = (0, 1, 2)
