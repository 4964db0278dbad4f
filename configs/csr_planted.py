"""CSR where it is known why: the label has one planted cause.

python train.py --config=configs/csr_planted.py:texture

Each level is a concept of its own. Variants name the characteristic (hue,
shape, texture, contrast, saturation; hue without any), and `:debug` shrinks
everything; they combine with commas.
"""

from ml_collections import ConfigDict

from protojax.configs import csr_composites
from protojax.configs.variants import PLANTED, apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = csr_composites.get_config().unlock()
  config.data.update(
    name="planted", characteristic="hue", concepts=(), image_size=64, augment=""
  )
  del config.data.tag
  config.backbone.update(name="convnet", pretrained=False)
  # From scratch: the concept head is the classifier that teaches the backbone.
  config.concepts.update(epochs=9, backbone=1e-3, train_norm=True)
  config.prototypes.update(per_concept=5, channels=32, standardise=False)
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **PLANTED,
  "debug": {
    "batch_size": 16,
    "data": {"image_size": 32},
    "concepts": {"epochs": 1},
    "warm": {"epochs": 1},
    "prototypes": {
      "per_concept": 2,
      "channels": 8,
      "iterations": 2,
      "rounds": 1,
      "epochs": 1,
    },
    "task": {"epochs": 1},
  },
}
