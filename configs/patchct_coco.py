"""PatchCT on MS-COCO, with both towers of CLIP ViT-B/16.

python train.py --config=configs/patchct_coco.py --config.data.root=DIR
  --config.backbone.weights=FILE --config.text.weights=FILE
  --config.text.vocabulary=FILE

DIR holds annotations/instances_train2014.json, train2014/ and the same of
val2014. Both weights may be one file of CLIP ViT-B/16. The paper's results were
not at hand, and no run of this size was made here.

Variants: `:448` takes images of 448 pixels, others are those of
`patchct_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import patchct_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with CLIP's towers on MS-COCO."""
  config = patchct_folder.get_config("clip").unlock()
  config.data.update(name="coco", train="train2014", test="val2014")
  return apply(config, variants, VARIANTS)


VARIANTS = {"448": {"data": {"image_size": 448}}, **patchct_folder.VARIANTS}
