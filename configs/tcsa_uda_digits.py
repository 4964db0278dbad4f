"""TCSA-UDA on embedded digits: grey scenes have labels, inverted ones none.

python train.py --config=configs/tcsa_uda_digits.py && python explain.py

Ten digits on textures, and the background. The relations of the classes are
those of their strokes, from training scans of the source alone.

Variants are those of `tcsa_uda_folder.py`; `:bound` trains on the target with
its labels, which no adaptation may have.
"""

from ml_collections import ConfigDict

from protojax.configs import tcsa_uda_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded digits."""
  config = tcsa_uda_folder.get_config().unlock()
  config.batch_size = 8
  config.data.update(
    name="digit_domains",
    train="train:1000",
    test="test:100",
    # Half of a side of a scene: a step costs a quarter.
    image_size=32,
    augment="",
  )
  config.text.update(kind="strokes")
  config.backbone.update(widths=(16, 32, 64))
  # With GroupNorm the ten digits take several times the steps.
  config.decoder.update(channels=32, norm="batch")
  config.head.update(hidden=32)
  config.adversary.update(width=16, layers=2)
  config.warm.update(steps=400)
  config.adapt.update(steps=1200)
  config.optimizer.update(rate=5e-3)
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **tcsa_uda_folder.VARIANTS,
  "bound": {**tcsa_uda_folder.VARIANTS["source"], "data": {"domain": "target"}},
}
