"""CoMEL on whole slides, with the sizes of the authors' code.

python -m protojax prepare slides --source=SLIDES --output=DIR
  --backbone=vit_large --weights=FILE
python train.py --config=configs/comel_camelyon16.py --config.data.root=DIR
  --config.data.list=reference.csv

Bags are of the tiles of a slide, 1,024 numbers each. `data.list` is the
reference.csv of CAMELYON16 for this task alone; for the authors' five
(CAMELYON16, PAIP's liver, prostate, HBP, colon), write bags.csv
(bag,task,label,split) and name them in data.tasks, in order.
Variants: those of `configs/comel_folder.py`; `:tcga` is the stream of TCGA with
lists in the format of CLAM, one file a task, of which a fifth is for testing;
`:authors` groups, adapts and labels as the authors' code does, one bag a step,
on one device.
"""

from ml_collections import ConfigDict

from protojax.configs import comel_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = comel_folder.get_config().unlock()
  config.update(
    {
      "seed": 2021,
      "batch_size": 2,
      "network": {
        "channels": 1024,
        "width": 512,
        "heads": 8,
        "blocks": 2,
        "hidden": 2048,
        "scorer": 256,
        "side": 16,
      },
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **comel_folder.VARIANTS,
  "tcga": {
    "data": {"tasks": ("nsclc", "brca", "rcc", "esca"), "test_fraction": 0.2}
  },
  "authors": {
    "batch_size": 1,
    "network": {"grouping": "strided"},
    "bppl": {"features": "plain", "temperature": 1.0},
    "adapters": {"mode": "gradproj", "protect": False},
  },
  "debug": {**comel_folder.VARIANTS["debug"], "batch_size": 4},
}
