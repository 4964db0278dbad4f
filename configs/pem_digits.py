"""PEM on embedded scenes of digits: objects on textures, one by one.

python train.py --config=configs/pem_digits.py && python explain.py

Three to six scanned digits on brick, grass or gravel, which hide one another:
ten classes of objects and three of stuff; 600 scenes to train on and 150 to
test on. A small network of four levels is trained from scratch.

Variants are those of `pem_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import pem_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with the variant "panoptic", on embedded scenes."""
  config = pem_folder.get_config("panoptic").unlock()
  config.data.update(
    name="digit_scenes",
    train="train:600",
    test="test:150",
    image_size=64,
    # A mirrored digit is none.
    augment="colour",
  )
  config.backbone.update(
    name="convnet_levels",
    levels=("stage_1", "stage_2", "stage_3", "stage_4"),
    pretrained=False,
    train_norm=True,
  )
  config.pixels.update(channels=64, mask_channels=64)
  config.decoder.update(queries=20, channels=64, heads=4, width=128)
  config.train.update(steps=1500, rate=2e-3, backbone=1.0)
  return apply(config, variants, pem_folder.VARIANTS)
