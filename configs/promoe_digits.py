"""ProMoE on 1,797 handwritten digits of 8 x 8 pixels, embedded.

python train.py --config=configs/promoe_digits.py && python explain.py

Two of four blocks have six routed experts, one for samples without a label and
a shared one.

Variants are those of `promoe_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import promoe_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded digits."""
  config = promoe_folder.get_config().unlock()
  config.steps = 1500
  config.data.update(name="digits", image_size=8, resize="squash", augment="")
  config.space.channels = 1
  config.network.update(channels=64, depth=4, heads=4)
  config.moe.experts = 6
  config.optimizer.update(rate=2e-3, average=0.995)
  return apply(config, variants, VARIANTS)


VARIANTS = promoe_folder.VARIANTS
