"""ProtoPNet on pasted pieces of photographs: known concepts in known places.

python train.py --config=configs/protopnet_composites.py

The data and the backbone of `csr_composites.py`, so that methods compare.

Variant: `:debug` shrinks everything and takes random weights.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = protopnet_folder.get_config().unlock()
  config.data.update(name="composites", image_size=96, augment="flip")
  # How often the false cue tells the truth in training.
  config.data.tag = 0.9
  config.backbone.name = "efficientnet_lite0_stride16"
  return apply(config, variants, VARIANTS)


_DEBUG = protopnet_folder.VARIANTS["debug"]
VARIANTS = {
  "debug": {**_DEBUG, "data": {**_DEBUG["data"], "name": "composites"}}
}
