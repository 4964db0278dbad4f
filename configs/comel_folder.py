"""CoMEL on any bags of features, task after task.

python train.py --config=configs/comel_folder.py --config.data.root=DIR
  --config.network.channels=1024

DIR holds bags *.npz or *.h5 with "features" [n c], "coords" [n 2] and, for
evaluation alone, "labels" [n]; as SPLIT/TASK/CLASS/BAG.npz, or listed in
bags.csv (bag,task,label,split). `python -m protojax prepare slides` writes such
a folder from whole slides. Widths are for small bags; `configs/
comel_camelyon16.py` has the paper's.
Variants: `:reference` labels instances as the authors' continual code,
`:joint` as their joint trainer; `:gradproj` projects gradients, as they do;
`:debug` runs on small embedded bags.
"""

from ml_collections import ConfigDict

from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = ConfigDict(
    {
      "method": "comel",
      "seed": 0,
      "seeds": 1,
      "init_from": "",
      # Tasks that the run of init_from has learned: the first ones of all.
      "learned": 0,
      "save_seconds": 60.0,
      "batch_size": 4,
      # "": CoMEL; "abmil", "finetune", "ewc", "lwf", "er".
      "baseline": "",
      # channels: numbers of an instance's vector. side: there are side^2
      # groups. grouping: "region" (of coordinates) or "strided" (of the order
      # in the file, as the authors' code). chunk: instances at a time.
      "network": {
        "channels": 1024,
        "width": 128,
        "heads": 4,
        "blocks": 2,
        "hidden": 256,
        "scorer": 64,
        "side": 8,
        "grouping": "region",
        "chunk": 4096,
        "dropout": 0.25,
        "block_dropout": 0.1,
      },
      # Pseudo labels. features: "centred" or "plain". confidence: tau_1.
      # quality: tau. kept: "both" or "positive". background: "complement"
      # (1 - a) or "margin" (max a - a). apart: weight of cos(z+, z-).
      "bppl": {
        "weight": 1.0,
        "features": "centred",
        "temperature": 0.25,
        "confidence": 0.95,
        "quality": 0.5,
        "kept": "both",
        "background": "complement",
        "apart": 0.0,
      },
      # mode: "reparam" (exactly orthogonal), "gradproj" (gradients are
      # projected) or "none" (LoRA). energy: share that is kept of W_0 after the
      # first task. protect: later tasks stay out of the directions of W_0.
      "adapters": {
        "mode": "reparam",
        "rank": 16,
        "qkv_rank": 48,
        "energy": 0.99,
        "protect": True,
        "orthonormal": 1.0,
      },
      # Of the baselines.
      "continual": {
        "ewc": 1.0,
        "ewc_decay": 0.9,
        "lwf": 1.0,
        "lwf_temperature": 2.0,
        "er_bags": 30,
      },
      # Of each task.
      "train": {"epochs": 100, "rate": 1e-4, "weight_decay": 1e-5},
      "data": {
        "name": "bags",
        "root": "",
        "train": "train",
        "test": "test",
        "validation_fraction": 0.0,
        "test_fraction": 0.0,
        "split_seed": -1,
        "crop": False,
        # In order; (): all that there are, by name.
        "tasks": (),
        "negative": "normal",
        # A list of bags, or a folder of lists; "": bags.csv in the root.
        "list": "",
        # Of the embedded bags: training bags of a task, and their sizes.
        "bags": 120,
        "least": 30,
        "most": 200,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "reference": {"bppl": {"features": "plain", "temperature": 1.0}},
  "joint": {
    "bppl": {
      "temperature": 1.0,
      "confidence": 0.98,
      "quality": 0.9,
      "kept": "positive",
      "apart": 0.1,
    }
  },
  "gradproj": {"adapters": {"mode": "gradproj"}},
  "debug": {
    "network": {
      "channels": 32,
      "width": 16,
      "heads": 2,
      "blocks": 1,
      "hidden": 16,
      "scorer": 8,
      "side": 3,
      "dropout": 0.0,
      "block_dropout": 0.0,
    },
    "adapters": {"rank": 4, "qkv_rank": 4},
    "train": {"epochs": 3, "rate": 3e-3},
    "data": {
      "name": "digit_bags",
      "root": "",
      "tasks": ("nine", "four"),
      "bags": 16,
      "least": 17,
      "most": 32,
    },
  },
}
