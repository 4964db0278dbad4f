"""PEM on embedded mosaics of textures.

python train.py --config=configs/pem_mosaics.py && python explain.py

Brick, grass and gravel at two zooms, six classes; 300 mosaics to train on and
100 to test on. A small network of four levels is trained from scratch.

Variants are those of `pem_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import pem_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded mosaics."""
  config = pem_folder.get_config().unlock()
  config.data.update(
    name="texture_mosaics",
    train="train:300",
    test="test:100",
    image_size=64,
    # Scale is what tells some classes apart.
    augment="flip",
  )
  config.backbone.update(
    name="convnet_levels",
    levels=("stage_1", "stage_2", "stage_3", "stage_4"),
    pretrained=False,
    train_norm=True,
  )
  config.pixels.update(channels=64, mask_channels=64)
  config.decoder.update(queries=20, channels=64, heads=4, width=128)
  config.train.update(steps=800, rate=2e-3, backbone=1.0)
  return apply(config, variants, pem_folder.VARIANTS)
