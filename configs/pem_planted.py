"""PEM where it is known why: classes differ in one characteristic.

python train.py --config=configs/pem_planted.py:texture

Variants name the characteristic (hue, shape, texture, contrast, saturation; hue
without any) or are those of `pem_folder.py`; they combine with commas. The
network and its rates are those of the mosaics of textures.
"""

from ml_collections import ConfigDict

from protojax.configs import pem_folder, pem_mosaics
from protojax.configs.variants import PLANTED, apply


def get_config(variants: str = "") -> ConfigDict:
  """The config of the mosaics on planted ones."""
  config = pem_mosaics.get_config().unlock()
  config.data.update(name="planted_mosaics", characteristic="hue")
  return apply(config, variants, VARIANTS)


_DEBUG = pem_folder.VARIANTS["debug"]
VARIANTS = {
  **pem_folder.VARIANTS,
  **PLANTED,
  "debug": {**_DEBUG, "data": {**_DEBUG["data"], "name": "planted_mosaics"}},
}
