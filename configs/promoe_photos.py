"""ProMoE on crops of 13 photographs, in colour, embedded.

python train.py --config=configs/promoe_photos.py && python explain.py

A class is a photograph, and an image 16 x 16 pixels. Two of four blocks have
six routed experts, one for samples without a label and a shared one.

Variants are those of `promoe_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import promoe_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded photographs."""
  config = promoe_folder.get_config().unlock()
  config.steps = 3000
  config.data.update(name="photos", image_size=16, resize="squash")
  config.network.update(channels=64, depth=4, heads=4)
  config.moe.experts = 6
  config.optimizer.update(rate=2e-3, average=0.995)
  return apply(config, variants, VARIANTS)


VARIANTS = promoe_folder.VARIANTS
