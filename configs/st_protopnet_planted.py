"""ST-ProtoPNet where it is known why: the label has one planted cause.

python train.py --config=configs/st_protopnet_planted.py:texture

The data and the recipe of `protopnet_planted.py`, its five prototypes of a
class in two branches: three trivial and three support.

Variants name the characteristic (hue, shape, texture, contrast, saturation;
hue without any), and `:debug` shrinks everything; they combine with commas.
"""

from ml_collections import ConfigDict

from protojax.configs import st_protopnet_folder
from protojax.configs.variants import PLANTED, apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = st_protopnet_folder.get_config().unlock()
  config.data.update(
    name="planted", characteristic="hue", image_size=64, augment=""
  )
  config.backbone.update(name="convnet", pretrained=False)
  config.prototypes.update(per_class=3, channels=32)
  config.pretrain.epochs = 5
  config.warm.epochs = 0
  config.joint.update(
    epochs=4,
    backbone=1e-3,
    add_on=3e-3,
    prototypes=3e-3,
    drop_epochs=3,
    train_norm=True,
  )
  config.last.epochs = 10
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **PLANTED,
  "debug": {
    "batch_size": 16,
    "data": {"image_size": 32},
    "prototypes": {"per_class": 2, "channels": 8},
    "pretrain": {"epochs": 1},
    "joint": {"epochs": 1},
    "last": {"epochs": 1},
  },
}
