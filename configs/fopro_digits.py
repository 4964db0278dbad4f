"""FoPro on an embedded web of digits: wrong labels, and a few that are right.

python train.py --config=configs/fopro_digits.py && python explain.py

Of the web's digits 30 % have the label of the next digit, and 15 % of its
images show none. docs/fopro.md says what runs reach.
Variants are those of `fopro_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import fopro_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded digits."""
  config = fopro_folder.get_config().unlock()
  config.data.update(
    name="digit_web",
    flipped=0.3,
    outliers=0.15,
    # Digits of the web at most; 0: half of the scans.
    web=0,
    image_size=16,
    # A digit that is mirrored is none.
    weak="rotate?",
    strong="rotate,shift?,colour",
    resize="squash",
    resize_size=0,
  )
  config.backbone.update(name="convnet_local", pretrained=False)
  config.network.update(hidden=128, channels=32, relation=32)
  config.queue.update(size=256, momentum=0.99)
  config.prototypes.update(momentum=0.995)
  config.stages.update(
    frozen=0, start=14, contrast=6, relate=4, clean=20, plan=40
  )
  config.plain.update(epochs=40, dropped=0.4)
  config.optimizer.update(rate=5e-3, relation=5e-3, warmup=1)
  return apply(config, variants, fopro_folder.VARIANTS)
