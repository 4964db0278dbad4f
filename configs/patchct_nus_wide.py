"""PatchCT on NUS-WIDE, with both towers of CLIP ViT-B/16.

python train.py --config=configs/patchct_nus_wide.py --config.data.root=DIR
  --config.backbone.weights=FILE --config.text.weights=FILE
  --config.text.vocabulary=FILE

DIR holds ImageList, Groundtruth and Flickr. The paper's results were not at
hand, and no run of this size was made here.

Variants are those of `patchct_coco.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import patchct_coco, patchct_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with CLIP's towers on NUS-WIDE."""
  config = patchct_folder.get_config("clip").unlock()
  config.data.update(name="nus_wide")
  return apply(config, variants, patchct_coco.VARIANTS)
