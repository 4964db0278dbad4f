"""PEM on Cityscapes, with the paper's network and schedule.

python train.py --config=configs/pem_cityscapes.py
  --config.data.root=DIR --config.backbone.weights=FILE

DIR holds leftImg8bit and gtFine, FILE the weights of torchvision's ResNet-50.
A frame is two squares of 1,024 pixels (docs/data.md), on which all steps are
trained; the paper's are crops of 512 x 1,024. Not run yet: its mIoU is 79.9.

Variants are those of `pem_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import pem_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with the variant "paper", on Cityscapes."""
  config = pem_folder.get_config("paper").unlock()
  config.data.update(name="cityscapes", test="val", image_size=1024)
  return apply(config, variants, pem_folder.VARIANTS)
