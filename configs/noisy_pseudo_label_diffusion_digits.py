"""Diffusion of label maps on embedded scenes of digits, an eighth labelled.

python train.py --config=configs/noisy_pseudo_label_diffusion_digits.py && \
  python explain.py

Three to six scanned digits on brick, grass or gravel, which hide one another:
thirteen classes; 400 scenes to train on, 50 of them with labels, and 150 to
test on. A small network is trained from scratch. `corruption.rate` makes a
share of the pseudo-labels wrong on purpose.

After the abstract of arXiv 2507.16429; the losses are ours.
Variants are those of `noisy_pseudo_label_diffusion_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import noisy_pseudo_label_diffusion_folder as folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on embedded scenes, small."""
  config = folder.get_config().unlock()
  config.data.update(
    name="digit_scenes",
    train="train:400",
    test="test:150",
    image_size=64,
    # A mirrored digit is none.
    augment="colour",
    weak="colour",
    strong="weak+colour,blur?,cutout?",
  )
  config.backbone.update(
    name="convnet_levels",
    levels=("stage_2", "stage_3", "stage_4"),
    pretrained=False,
    train_norm=True,
  )
  config.denoiser.update(channels=32, blocks=3, kernel=3)
  config.teacher.decay = 0.99
  config.train.update(steps=600, rate=2e-3)
  return apply(config, variants, folder.VARIANTS)
