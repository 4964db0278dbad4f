"""ProMoE on latents of ImageNet at 256 pixels, in the paper's sizes.

python -m protojax prepare latents --source=DIR --autoencoder=FILE --output=OUT
python train.py --config=configs/promoe_imagenet.py:B --config.data.root=OUT

FILE is the autoencoder's diffusion_pytorch_model.safetensors (sd-vae-ft-mse);
with --config.space.autoencoder=FILE images can be sampled. Rates, batch and
steps are the paper's (2510.24711, section 5). The paper's FID of 50,000 images
with guidance 1 and 1.5 after 500,000 steps: B 24.44 and 6.39, L 11.61 and 2.79,
XL 9.44 and 2.59. Nothing of this was run here.

Variants: `:S`, `:B` (the default), `:L`, `:XL`; `:ddpm`, `:ec` and `:debug` are
those of `promoe_folder.py`, where `:ddpm` weighs the contrastive loss by 1 (the
paper's DDPM of size B has 10: --config.loss.contrast=10).
"""

from ml_collections import ConfigDict

from protojax.configs import promoe_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on prepared latents."""
  config = promoe_folder.get_config().unlock()
  config.batch_size = 256
  config.steps = 500_000
  config.data.update(name="latents", image_size=32, resize="squash", augment="")
  config.space.update(kind="latents", channels=4)
  config.network.update(size="B", learn_sigma=True, dtype="bfloat16")
  config.optimizer.update(rate=1e-4, average=0.9999)
  config.sample.steps = 250
  return apply(config, variants, VARIANTS)


VARIANTS = {
  **{size: {"network": {"size": size}} for size in ("S", "B", "L", "XL")},
  **promoe_folder.VARIANTS,
}
