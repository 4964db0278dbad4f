"""ScaleProtoSeg on Cityscapes, with the paper's network and schedule.

python train.py --config=configs/scaleprotoseg_cityscapes.py
  --config.data.root=DIR --config.backbone.weights=FILE

DIR holds leftImg8bit and gtFine, FILE the weights of torchvision's ResNet-101.
A frame is two squares of 1,024 pixels (docs/data.md), on which all steps are
trained; the paper's are crops of 513 pixels. Not run yet: its mIoU is 68.97.

Variants are those of `scaleprotoseg_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import scaleprotoseg_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with the variant "deeplab", on Cityscapes."""
  config = scaleprotoseg_folder.get_config("deeplab").unlock()
  config.data.update(name="cityscapes", test="val", image_size=1024)
  return apply(config, variants, scaleprotoseg_folder.VARIANTS)
