"""ProtoPNet where it is known why: the label has one planted cause.

python train.py --config=configs/protopnet_planted.py:texture

Test accuracy, means of seeds 0, 1, 2: hue 1.000 (6 classes), shape 0.953 (2),
texture 0.993 (2), contrast 0.793 (5), saturation 0.718 (5); half a minute each
on two CPU cores. What explanations say of them: `python -m protojax evaluate
--planted`.

Variants name the characteristic (hue, shape, texture, contrast, saturation;
hue without any), and `:debug` shrinks everything; they combine with commas.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_folder
from protojax.configs.variants import PLANTED, apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = protopnet_folder.get_config().unlock()
  config.data.update(
    name="planted", characteristic="hue", image_size=64, augment=""
  )
  config.backbone.update(name="convnet", pretrained=False)
  config.prototypes.update(
    per_class=5, channels=32, similarity="log", activation="sigmoid"
  )
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
  # What is published of these models was measured with it.
  config.last.update(solver="adam", epochs=10)
  config.prune.nearest = 0
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
