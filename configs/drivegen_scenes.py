"""A detector on embedded road scenes: what images of other conditions gain.

python train.py --config=configs/drivegen_scenes.py

It is trained on clear scenes, and tested on other ones, each clear, in snow, in
fog, at night and with noise. docs/detector.md has what its arms reach.
Variants: `:oracle` trains on true images of all conditions; with
--config.data.added=DIR any arm learns from images that `generate` made of the
scenes, too, which

python -m protojax prepare driving_scenes --source=600:200 --output=ROAD

writes for it. All arms take as many steps.
"""

from ml_collections import ConfigDict

from protojax.configs import centre_detector_folder
from protojax.configs.variants import apply

_CONDITIONS = ("clear", "snow", "fog", "night", "noise")


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded scenes."""
  config = centre_detector_folder.get_config().unlock()
  config.update(batch_size=32, steps=1500)
  config.data.update(
    name="driving_scenes",
    # To train and to test on.
    scenes=(600, 200),
    conditions=("clear",),
    test_conditions=_CONDITIONS,
    # The world of every seed.
    split_seed=0,
    image_size=64,
  )
  config.backbone.name = "unet_small_stride4"
  config.network.update(hidden=48, typical=8.0, most=8)
  config.optimizer.update(rate=2e-3, warmup=100)
  config.evaluation.update(overlaps=(0.5, 0.25, 0.25), difficulty="all")
  return apply(config, variants, VARIANTS)


VARIANTS = {
  "oracle": {"data": {"conditions": _CONDITIONS}},
  **centre_detector_folder.VARIANTS,
}
