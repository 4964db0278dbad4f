"""CoMEL on embedded bags of digits: three tasks, one after the other.

python train.py --config=configs/comel_digits.py

Bags of 30 to 200 scanned digits (protojax/datasets/digit_bags.py); a task looks
for one digit. docs/comel.md says what the run reaches.
Variants: those of `configs/comel_folder.py`; `:debug` is smaller.
"""

from ml_collections import ConfigDict

from protojax.configs import comel_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = comel_folder.get_config().unlock()
  config.update(
    {
      "network": {
        "channels": 32,
        "width": 64,
        "heads": 4,
        "blocks": 1,
        "hidden": 128,
        "scorer": 32,
        "side": 6,
      },
      "adapters": {"rank": 8, "qkv_rank": 16},
      "train": {"epochs": 12, "rate": 1e-3},
      "data": {"name": "digit_bags"},
    }
  )
  return apply(config, variants, VARIANTS)


VARIANTS = comel_folder.VARIANTS
