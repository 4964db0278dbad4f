"""ST-ProtoPNet on photographs that come with scikit-image and scikit-learn.

python train.py --config=configs/st_protopnet_photos.py

The data and the recipe of `protopnet_photos.py`, its five prototypes of a class
in two branches: three trivial and three support. Variants are those of
`st_protopnet_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import st_protopnet_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded photographs."""
  config = st_protopnet_folder.get_config()
  config.data.name = "photos"
  config.data.image_size = 96
  config.backbone.name = "efficientnet_lite0_stride16"
  config.prototypes.per_class = 3
  config.warm.epochs = 5
  config.joint.update(
    epochs=6, backbone=1e-3, add_on=1e-3, prototypes=1e-3, drop_epochs=5
  )
  config.last.epochs = 10
  return apply(config, variants, VARIANTS)


VARIANTS = st_protopnet_folder.VARIANTS
