"""INP-Former on magnetic tiles: one normal folder, five kinds of defects.

python train.py --config=configs/inp_former_magtile.py --config.data.root=DIR

DIR holds Free (the normal tiles) beside Blowhole, Break, Crack, Fray and
Uneven. Means of seeds 0, 1, 2, which draw other tiles: image AUROC 0.901,
pixel AUROC 0.787, AUPRO 0.600; a memory bank on the same features 0.874,
0.752, 0.332. Variants are those of `inp_former_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import inp_former_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config, for grey tiles with fine cracks."""
  config = inp_former_folder.get_config().unlock()
  # Of 150 normal tiles, whose looks vary, most are needed to learn from.
  config.data.test_fraction = 0.2
  # As few as hold one false alarm in twenty.
  config.data.calibration_fraction = 0.16
  config.data.image_size = 256
  # What tells a defect from the grain of a tile is deep in the network; an
  # uneven tile is told from farther away than a crack.
  config.encoder.update(levels=("stage_6",), scales=(1.0, 0.75), grid=8)
  config.decoder.blocks = 4
  # Longer training finds no more.
  config.epochs = 50
  config.map.update(length=0.75, share=0.2)
  return apply(config, variants, inp_former_folder.VARIANTS)
