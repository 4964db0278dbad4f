"""ProtoPNet on any data set that TFDS has prepared as ArrayRecord.

python train.py --config=configs/protopnet_tfds.py --config.data.name=NAME

`data.root` is TFDS's data_dir ('' is its default); `data.train` and
`data.test` name the splits, also in parts such as `train[:80%]`. Variants are
those of `protopnet_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on a data set of TFDS."""
  config = protopnet_folder.get_config()
  config.data.name = "cifar10"
  return apply(config, variants, protopnet_folder.VARIANTS)
