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
  config.batch_size = 64
  config.data.update(
    name="digit_web",
    flipped=0.3,
    outliers=0.15,
    # Digits of the web at most; 0: half of the scans.
    web=0,
    image_size=16,
    # A digit that is mirrored is none.
    weak="shift?",
    strong="shift?",
    resize="squash",
    resize_size=0,
  )
  config.backbone.update(name="convnet_local", pretrained=False)
  config.network.update(hidden=128, channels=32, relation=32)
  config.queue.update(size=256, momentum=0.99)
  config.prototypes.update(momentum=0.995)
  # Terms that are divided by a temperature outweigh the classifier's in a small
  # network from a random start, and what it knows by then is all that votes.
  config.loss.update(auxiliary=0.02, prototype=0.2, instance=0.1, alpha=0.8)
  config.cleaning.threshold = 0.8
  config.stages.update(
    frozen=0, start=14, contrast=4, relate=2, clean=8, plan=26
  )
  config.plain.update(epochs=28, dropped=0.4)
  config.optimizer.update(rate=1e-2, relation=5e-3, warmup=1)
  return apply(config, variants, fopro_folder.VARIANTS)
