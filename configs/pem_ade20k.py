"""PEM on ADE20K (150 classes), with the paper's network and schedule.

python train.py --config=configs/pem_ade20k.py
  --config.data.root=DIR --config.backbone.weights=FILE

DIR is the unpacked ADEChallengeData2016, FILE the weights of torchvision's
ResNet-50. Not run yet: the paper's mIoU is 45.5.

Variants are those of `pem_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import pem_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with the variant "paper", on ADE20K."""
  config = pem_folder.get_config("paper").unlock()
  config.data.update(
    name="ade20k", train="training", test="validation", resize="aspect"
  )
  # BatchNorm of the backbone stays as it was.
  config.backbone.update(train_norm=False)
  config.train.update(steps=160_000, rate=4e-4, end=1e-6)
  return apply(config, variants, pem_folder.VARIANTS)
