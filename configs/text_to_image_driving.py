"""A text-to-image model on embedded road scenes, the base of DriveGEN's.

python train.py --config=configs/text_to_image_driving.py

python -m protojax sample --prompt "a car and a cyclist in the snow"

Cars, pedestrians and cyclists before a camera, clear, in snow, fog, at night
and with noise. A scene of 32 x 64 pixels is squashed to 32 x 32. Variants are
those of `text_to_image_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import text_to_image_folder
from protojax.configs.variants import apply

_CONDITIONS = ("clear", "snow", "fog", "night", "noise")


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded scenes."""
  config = text_to_image_folder.get_config().unlock()
  config.steps = 4000
  config.data.update(
    name="driving_scenes",
    # To train and to test on.
    scenes=(4000, 40),
    conditions=_CONDITIONS,
    test_conditions=_CONDITIONS,
    added="",
    # Other scenes than those that a detector learns from.
    split_seed=1,
    resize="squash",
  )
  config.text.update(length=16, channels=64)
  config.network.update(
    channels=96, depth=4, patch=4, unroll=4, variance=0.2, refine=16
  )
  config.optimizer.update(rate=1e-3, cosine=True, warmup=200, average=0.998)
  config.process.mean = 0.8
  config.sample.update(steps=25)
  return apply(config, variants, VARIANTS)


_DEBUG = text_to_image_folder.VARIANTS["debug"]
VARIANTS = {
  **text_to_image_folder.VARIANTS,
  "debug": {**_DEBUG, "data": {"scenes": (8, 4)}},
}
