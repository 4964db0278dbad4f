"""CoMEL on slides of a stained colon: does it find the brown tiles?

The slides and bags are made by `benchmarks/stains.py`, which also says what is
brown. One task: the labels of the slides are all that training knows.
"""

QUESTION = "Where do CoMEL's positive tiles lie on slides of a stained colon?"

_FILE = "configs/comel_folder.py"
_HERE = {
  "data.root": "ihc_bags",
  "network.channels": 320,
  "network.width": 64,
  "network.blocks": 1,
  "network.hidden": 128,
  "network.scorer": 32,
  "network.side": 6,
  "train.epochs": 40,
  "train.rate": 1e-3,
}


def _arm(**changes: object) -> tuple[str, dict[str, object]]:
  named = {name.replace("__", "."): value for name, value in changes.items()}
  return _FILE, {**_HERE, **named}


ARMS = {
  "CoMEL": _arm(),
  "no pseudo labels": _arm(bppl__weight=0.0),
  "ABMIL": _arm(baseline="abmil"),
}

FIGURES = {
  "AUC of slides": "stream.auc.average",
  "AUC of tiles": "stream.instance_auc.average",
  "F1 of tiles": "stream.instance_f1.average",
  "Dice": "stream.dice.average",
  "pointing": "stream.pointing.average",
}

SEEDS = (0, 1, 2)
