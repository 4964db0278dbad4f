"""ProtoPNet on Stanford Dogs: dogs, each image cut to its largest one.

python -m protojax prepare dogs --source=FOLDER --output=DIR
python train.py --config=configs/protopnet_dogs.py:densenet121 \\
  --config.data.root=DIR

FOLDER holds images.tar, annotation.tar and lists.tar, or what they unpack to.
What TFDS itself has prepared is read with --config.data.name=stanford_dogs;
--config.data.crop=False takes the images whole.

ProtoPNet's paper has no dogs; others train it on them for comparison. Settings,
epochs and variants are those of `protopnet_cub200.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_cub200
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The birds' config on dogs."""
  config = protopnet_cub200.get_config().unlock()
  config.data.name = "dogs"
  return apply(config, variants, protopnet_cub200.VARIANTS)
