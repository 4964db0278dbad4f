"""ProtoPNet on photographs that come with scikit-image and scikit-learn.

python train.py && python explain.py

The classes are photographs; train and test crops are cut from the left 60 %
and the right 40 % of each. Variants are those of `protopnet_folder.py`.
"""

from ml_collections import ConfigDict

from configs import protopnet_folder


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded photographs."""
  config = protopnet_folder.get_config()
  config.data.name = "photos"
  config.data.image_size = 96
  return protopnet_folder.apply(config, variants)
