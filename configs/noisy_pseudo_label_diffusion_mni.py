"""Diffusion of label maps on the embedded brain: few slices with labels.

python train.py --config=configs/noisy_pseudo_label_diffusion_mni.py

Axial slices of the MNI template (the `medical` extra), four classes, in blocks
with gaps between them: one of seven blocks is labelled, two others are for
testing. It is one brain: what is found is about the mechanism. A U-Net is
trained from scratch.

After the abstract of arXiv 2507.16429; the losses are ours.
Variants are those of `noisy_pseudo_label_diffusion_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import noisy_pseudo_label_diffusion_folder as folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config with the variant "unet", on slices of the brain."""
  config = folder.get_config("unet").unlock()
  config.data.update(
    name="mni",
    domain="whole",
    axis="axial",
    window=(),
    # One of seven blocks.
    labelled=0.15,
    image_size=128,
    augment="scale,flip",
    weak="flip",
    # Intensity, bias field and noise of scanners.
    strong="weak+gamma,bias,rician",
  )
  config.denoiser.update(channels=32, blocks=3, kernel=3)
  config.teacher.decay = 0.99
  config.train.update(steps=2000)
  return apply(config, variants, folder.VARIANTS)
