"""EPIC where it is known why: the label has one planted cause.

python train.py --config=configs/epic_planted.py:texture

A convnet trained as a plain classifier, whose channels are then turned; nothing
is known of prototypes while it learns.

Variants name the characteristic (hue, shape, texture, contrast, saturation;
hue without any), and `:debug` shrinks everything; they combine with commas.
"""

from ml_collections import ConfigDict

from protojax.configs import epic_folder
from protojax.configs.variants import PLANTED, apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = epic_folder.get_config().unlock()
  config.data.update(
    name="planted",
    characteristic="hue",
    image_size=64,
    augment="",
    validation_fraction=0.1,
  )
  config.backbone.update(name="convnet", pretrained=False)
  config.head = "readout"
  config.pretrain.epochs = 9
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **PLANTED,
  "debug": {
    "batch_size": 16,
    "data": {"image_size": 32},
    "pretrain": {"epochs": 1},
    "rotation": {"rounds": 1, "sweeps": 1},
  },
}
