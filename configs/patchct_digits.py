"""PatchCT on embedded canvases of digits, with boxes to judge places by.

python train.py --config=configs/patchct_digits.py && python explain.py

Scanned digits on crops of photographs, one to four in an image.

Variants are those of `patchct_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import patchct_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded canvases."""
  config = patchct_folder.get_config().unlock()
  config.data.update(
    name="digit_canvases",
    train="train:3000",
    test="test:1000",
    image_size=36,
    augment="",
  )
  # Cells of 4 pixels that see 15; a transformer learns slower on a few images.
  config.backbone.name = "convnet_local"
  config.batch_size = 32
  config.optimizer.warmup = 0.1
  config.align.update(epochs=8, rate=6e-3, backbone=6e-3, labels=6e-3)
  # The towers are aligned, and slowed to a tenth.
  config.train.update(epochs=4, backbone=6e-4, labels=6e-4)
  return apply(config, variants, patchct_folder.VARIANTS)
