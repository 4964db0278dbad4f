"""PEM on embedded scenes of digits: objects on textures, one by one.

python train.py --config=configs/pem_digits.py && python explain.py

Three to six scanned digits on brick, grass or gravel, which hide one another:
ten classes of objects and three of stuff; 600 scenes to train on and 150 to
test on. The network is that of the mosaics of textures.

Variants are those of `pem_folder.py`, and `:alike`, where all digits are of one
class, so that they need only be told apart from one another.
"""

from ml_collections import ConfigDict

from protojax.configs import pem_folder, pem_mosaics
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config of the mosaics with the variant "panoptic", on scenes."""
  config = pem_mosaics.get_config("panoptic").unlock()
  config.data.update(
    name="digit_scenes",
    train="train:600",
    test="test:150",
    # A mirrored digit is none.
    augment="colour",
    alike=False,
  )
  config.train.update(steps=1500)
  return apply(config, variants, VARIANTS)


VARIANTS = {**pem_folder.VARIANTS, "alike": {"data": {"alike": True}}}
