"""ProtoPNet on Stanford Cars as in its paper: cars, cut to their boxes.

python -m protojax prepare cars196 --source=FOLDER --output=DIR
python train.py --config=configs/protopnet_cars196.py:densenet121 \\
  --config.data.root=DIR

FOLDER holds cars_train.tgz, cars_test.tgz, car_devkit.tgz and
cars_test_annos_withlabels.mat, or what they unpack to. What TFDS itself has
prepared is read with --config.data.name=cars196.

The paper trains on these cars, too; its figures are not repeated here, since
they could not be checked. Settings, epochs and variants are those of
`protopnet_cub200.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_cub200
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The birds' config on cars."""
  config = protopnet_cub200.get_config().unlock()
  config.data.name = "cars"
  return apply(config, variants, protopnet_cub200.VARIANTS)
