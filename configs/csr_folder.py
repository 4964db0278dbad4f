"""CSR on a folder of images, each class its own concept.

python train.py --config=configs/csr_folder.py --config.data.root=DIR

DIR holds train/<class>/* and test/<class>/*, or <class>/* alone, which is
split 60/40 by a seed. With classes alone for concepts it is a classifier by
cosine prototypes; `csr_composites.py` and `csr_bccd.py` have concepts.

Variants: `:debug` shrinks everything and runs in seconds, on the embedded
photographs where no root is given.
"""

from ml_collections import ConfigDict

from protojax.configs import csr_composites
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = csr_composites.get_config().unlock()
  del config.data.tag
  config.batch_size = 32
  config.data.update(
    name="folder", concepts=(), image_size=224, augment="crop,flip"
  )
  config.data.test_fraction = 0.4
  config.backbone.name = "efficientnet_lite0"
  config.prototypes.per_concept = 10
  return apply(config, variants, VARIANTS)


_DEBUG = csr_composites.VARIANTS["debug"]
VARIANTS = {
  "debug": {
    **_DEBUG,
    "batch_size": 26,
    "data": {**_DEBUG["data"], "name": "photos", "concepts": ()},
  }
}
