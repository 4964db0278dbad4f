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
  config.data.update(
    name="digit_domains",
    train="train:400",
    test="test:100",
    image_size=64,
    augment="shift",
  )
  config.text.update(kind="strokes")
  config.backbone.update(widths=(8, 16, 32, 64))
  config.decoder.update(channels=32)
  config.head.update(hidden=32)
  config.adversary.update(width=16, stride=2)
  config.warm.update(steps=100)
  config.adapt.update(steps=400)
  config.optimizer.update(rate=3e-3)
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **tcsa_uda_folder.VARIANTS,
  "bound": {**tcsa_uda_folder.VARIANTS["source"], "data": {"domain": "target"}},
}
