"""ScaleProtoSeg on embedded mosaics of textures, where scale tells classes.

python train.py --config=configs/scaleprotoseg_mosaics.py && python explain.py

Brick, grass and gravel at two zooms, six classes; 300 mosaics to train on and
100 to test on. A small network with a map of 16 x 16 is trained from scratch,
so that rates are higher than the folder's.

Variants are those of `scaleprotoseg_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import scaleprotoseg_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded mosaics."""
  config = scaleprotoseg_folder.get_config().unlock()
  config.data.update(
    name="texture_mosaics",
    train="train:300",
    test="test:100",
    image_size=64,
    # Scale is what tells some classes apart.
    augment="flip",
  )
  config.backbone.update(
    name="convnet_local", levels=(), pretrained=False, train_norm=True
  )
  config.aspp.update(channels=16)
  config.warm.update(steps=50, aspp=2e-3, prototypes=2e-3)
  config.joint.update(steps=500, backbone=2e-3, aspp=2e-3, prototypes=2e-3)
  config.last.update(steps=50, head=1e-3)
  config.group.update(steps=50, weights=2e-3)
  config.refine.update(steps=500, weights=2e-3, head=2e-3)
  return apply(config, variants, scaleprotoseg_folder.VARIANTS)
