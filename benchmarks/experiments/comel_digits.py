"""CoMEL on three tasks of digit bags: who forgets, and what labels are worth.

All arms see the same bags in the same order. A figure "at the end" is the mean
over the three tasks after the last one.
"""

QUESTION = "What do OWLoRA's orthogonal adapters and BPPL's pseudo labels do?"

_FILE = "configs/comel_digits.py"
# A run must take a minute of processor time at most.
_SHORT = {"train.epochs": 8}


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
  "replay of 30 bags": _arm(baseline="er"),
  "LwF": _arm(baseline="lwf"),
  "EWC": _arm(baseline="ewc"),
  "OWLoRA, strided groups": _arm(network__grouping="strided"),
}

FIGURES = {
  "accuracy at the end": "stream.accuracy.average",
  "forgetting": "stream.accuracy.forgetting",
  "task known": "stream.accuracy_of_known_task.average",
  "instance AUC": "stream.instance_auc.average",
  "instance F1": "stream.instance_f1.average",
  "labels kept": "pseudo_labels.kept",
  "of them right": "pseudo_labels.kept_right",
}

SEEDS = (0, 1, 2)
