"""TCSA-UDA on the embedded brain: T1 has labels, another contrast has none.

python train.py --config=configs/tcsa_uda_mni.py && python explain.py

Nine blocks of axial slices of one average brain (docs/data.md): four of T1 with
labels, three of another contrast to adapt to, two of it to score. It needs
pip install 'protojax[medical]'. The names of the classes are compared as words:
grey and white matter share one.

Variants are those of `tcsa_uda_folder.py`; `:bound` trains on the other
contrast with its labels, which no adaptation may have.
"""

from ml_collections import ConfigDict

from protojax.configs import tcsa_uda_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded brain."""
  config = tcsa_uda_folder.get_config().unlock()
  config.data.update(name="mni", image_size=64, augment="flip")
  config.backbone.update(widths=(8, 16, 32, 64))
  config.decoder.update(channels=32)
  config.head.update(hidden=32)
  config.adversary.update(width=16, stride=2)
  config.warm.update(steps=60)
  config.adapt.update(steps=240)
  config.optimizer.update(rate=3e-3)
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **tcsa_uda_folder.VARIANTS,
  "bound": {**tcsa_uda_folder.VARIANTS["source"], "data": {"domain": "target"}},
}
