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
  return apply(config, variants, patchct_folder.VARIANTS)
