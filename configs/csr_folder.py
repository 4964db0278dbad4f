"""CSR on a folder of images: each class a concept of its own.

python train.py --config=configs/csr_folder.py --config.data.root=DIR

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone, which is
split 60/40 by a seed. To compare CSR with methods that know classes only;
where there are concepts, see `csr_bccd.py`. Variants are those of
`csr_composites.py`.
"""

from ml_collections import ConfigDict

from configs import csr_composites
from configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The composites' config on a folder."""
  config = csr_composites.get_config().unlock()
  config.data.update(
    name="folder", concepts=(), test_fraction=0.4, image_size=224
  )
  del config.data.tag
  config.batch_size = 32
  config.backbone.name = "efficientnet_lite0"
  config.prototypes.per_concept = 10
  return apply(config, variants, csr_composites.VARIANTS)
