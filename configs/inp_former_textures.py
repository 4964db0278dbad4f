"""INP-Former on textures that come with scikit-image, with made defects.

python train.py --config=configs/inp_former_textures.py && python explain.py

Normal images are crops of brick, grass and gravel (three categories, one
model); defects of known outline are pasted into test crops. Means of seeds 0,
1, 2: pixel AUROC 0.860, AUPRO 0.652, image AUROC 0.782, in a minute on two CPU
cores. Blurred and foreign patches are found; turned ones hide in grass and
gravel. In as many steps, a grid of 16 finds less than one of 8.

Variants are those of `inp_former_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import inp_former_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded textures."""
  config = inp_former_folder.get_config().unlock()
  config.data.name = "textures"
  config.data.image_size = 128
  config.encoder.update(levels=("stage_3", "stage_4"), grid=8)
  config.epochs = 30
  return apply(config, variants, inp_former_folder.VARIANTS)
