"""ProtoPNet on drawn shapes, one of which can be known by a mark.

python train.py --config=configs/protopnet_confounded.py

For editing. 0.453 of the test images, which have no mark, are recognised, and
0.04 of the discs (seed 0); docs/interacting.md says what edits do to it.

Variant: `:debug` shrinks everything.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = protopnet_folder.get_config().unlock()
  config.data.update(name="confounded", image_size=48, augment="")
  # A cell sees 15 pixels: the mark, or a corner or edge of a shape.
  config.backbone.update(name="convnet_local", pretrained=False)
  config.prototypes.update(
    per_class=8, channels=32, similarity="log", activation="sigmoid"
  )
  config.pretrain.epochs = 12
  config.warm.epochs = 0
  config.joint.update(
    epochs=4,
    backbone=1e-3,
    add_on=3e-3,
    prototypes=3e-3,
    drop_epochs=3,
    train_norm=True,
  )
  config.prune.nearest = 0
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "debug": {
    "batch_size": 16,
    "data": {"image_size": 32},
    "backbone": {"name": "convnet"},
    "prototypes": {"per_class": 2, "channels": 8},
    "pretrain": {"epochs": 1},
    "joint": {"epochs": 1},
    "last": {"steps": 10},
  }
}
