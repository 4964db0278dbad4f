"""CSR on blood smears (BCCD): red cells, white cells and platelets as concepts.

python train.py --config=configs/csr_bccd.py --config.data.root=DIR

DIR holds images/ and boxes.csv, the 364 photographs with the boxes of their
cells. Windows of 240 pixels are sorted by the first of white cell, platelet,
red cell that they show. Photographs held out, means of seeds 0, 1, 2: macro-F1
0.543, accuracy 0.809, AUROC of the concepts 0.844; the best cell of a concept
lies in one of its boxes for 0.761 of the pairs (its map's highest cell: 0.753).
Variants are those of `csr_composites.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import csr_composites
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The composites' config on windows of boxed photographs."""
  config = csr_composites.get_config().unlock()
  config.data.update(
    name="boxes",
    concepts=("RBC", "WBC", "Platelets"),
    # In this order.
    task=("WBC", "Platelets", "RBC"),
    # Of a window, in pixels of the photograph.
    side=240,
    test_fraction=0.4,
    image_size=128,
  )
  del config.data.tag
  return apply(config, variants, csr_composites.VARIANTS)
