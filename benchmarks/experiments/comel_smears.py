"""CoMEL on blood smears: bags of cells, two tasks.

The bags are made by `benchmarks/smears.py`: first white cells are looked for,
then platelets. A figure is the mean over both tasks after the second.
"""

QUESTION = "Does CoMEL find white cells and platelets in bags of cells?"

_FILE = "configs/comel_folder.py"
_HERE = {
  "data.root": "bccd_bags",
  "data.tasks": ("white", "platelet"),
  "network.channels": 320,
  "network.width": 64,
  "network.blocks": 1,
  "network.hidden": 128,
  "network.scorer": 32,
  "network.side": 6,
  "batch_size": 8,
  "train.epochs": 10,
  "train.rate": 1e-3,
}


ARMS = {"OWLoRA, W_0 protected": (_FILE, _HERE)}

FIGURES = {
  "accuracy at the end": "stream.accuracy.average",
  "forgetting": "stream.accuracy.forgetting",
  "task known": "stream.accuracy_of_known_task.average",
  "instance AUC": "stream.instance_auc.average",
  "instance F1": "stream.instance_f1.average",
  "pointing": "stream.pointing.average",
}

SEEDS = (0,)
