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
  config.backbone.name = "efficientnet_lite0_stride16"
  config.prototypes.per_class = 5
  config.warm.epochs = 5
  config.joint.update(
    epochs=6, backbone=1e-3, add_on=1e-3, prototypes=1e-3, drop_epochs=5
  )
  config.last.epochs = config.prune.epochs = 10
  return protopnet_folder.apply(config, variants)
