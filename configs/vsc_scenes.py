"""VSC on embedded scenes with two or three things each.

python train.py --config=configs/text_to_image_scenes.py --workdir=runs/base
python train.py --config=configs/vsc_scenes.py --config.base=runs/base

The base has seen one or two things in an image, and neither it nor this method
a fifth of the combinations of colour and type: `data.test=unseen:N` tests on
scenes that have one of those.

Variants: see `vsc_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import text_to_image_scenes, vsc_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded scenes."""
  base = text_to_image_scenes.get_config()
  config = vsc_folder.get_config().unlock()
  config.steps = 1000
  for group in ("data", "text", "network", "space", "process", "sample"):
    config[group].update(base[group])
  config.data.update(things=(2, 3))
  # 8 colours, 3 textures and 6 types.
  config.references.update(most=144)
  config.encoder.update(steps=600)
  config.optimizer.update(rate=1e-3, average=0.99)
  return apply(config, variants, VARIANTS)


VARIANTS = vsc_folder.VARIANTS
