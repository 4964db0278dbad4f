"""INP-Former on magnetic tiles: one normal folder, five kinds of defects.

python train.py --config=configs/inp_former_magtile.py --config.data.root=DIR

DIR holds Free (the normal tiles) beside Blowhole, Break, Crack, Fray and
Uneven. Means of seeds 0, 1, 2, which draw other tiles: image AUROC 0.835,
pixel AUROC 0.720, AUPRO 0.303; a memory bank on the same features 0.824,
0.680, 0.254. Variants are those of `inp_former_folder.py`.
"""

from ml_collections import ConfigDict

from configs import inp_former_folder
from configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config, for grey tiles with fine cracks."""
  config = inp_former_folder.get_config().unlock()
  # Of 150 normal tiles, whose looks vary, most are needed to learn from.
  config.data.test_fraction = 0.2
  config.data.image_size = 128
  config.encoder.grid = 8
  config.epochs = 100
  return apply(config, variants, inp_former_folder.VARIANTS)
