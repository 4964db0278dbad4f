"""Diffusion of label maps on MOSXAV, X-ray angiography videos.

python train.py --config=configs/noisy_pseudo_label_diffusion_mosxav.py \
  --config.data.root=DIR

DIR holds trainval/ and test/ of MOSXAV (docs/data.md). Every fifth training
frame has a mask; the frames between are unlabelled. Splits are by sequence:
train.txt to train on, test.txt to test on.

After the abstract of arXiv 2507.16429; the losses are ours. The paper's data
are these, and none of its settings is known.
Variants are those of `noisy_pseudo_label_diffusion_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import noisy_pseudo_label_diffusion_folder as folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on MOSXAV, at its size."""
  config = folder.get_config().unlock()
  config.data.update(name="mosxav", image_size=512)
  return apply(config, variants, folder.VARIANTS)
