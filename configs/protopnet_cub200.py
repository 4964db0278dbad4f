"""ProtoPNet on CUB-200-2011 as in its paper: birds, cut to their boxes.

python -m protojax prepare cub200 --source=CUB_200_2011.tgz --output=DIR
python train.py --config=configs/protopnet_cub200.py:resnet34 \\
  --config.data.root=DIR

The paper (Chen et al., NeurIPS 2019) reports, not this repository: `:vgg16`
76.1, `:vgg19` 78.0, `:resnet34` 79.2, `:resnet152` 78.0, `:densenet121` 80.2,
`:densenet161` 80.1 % of the test birds, with deviations of 0.1 to 0.3; 84.8 for
three of them together. `--config.seeds=3` gives mean and deviation.

Weights are those of torchvision, from the Hugging Face hub (extra `hf`), or
from a file with --config.backbone.weights=FILE. What TFDS itself has prepared
is read with --config.data.name=caltech_birds2011.

An epoch counts as in the paper's code: 30 copies of each image, there made
beforehand, here varied anew each time: 5 to warm up, 6 jointly, then the push
(after epoch 10) and 20 for the last layer. Then come 6 more and a push, twice.
The paper's code pushes after epochs 20 and 30, by when its rate has fallen to a
thousandth. What differs on purpose: BatchNorm keeps its running averages while
the backbone is frozen (--config.batch_norm_parity), and those stages take 30
identical copies of each image an epoch, as it is: as many steps as with varied
ones, but the backbone reads each image once. Of 5,994 images, batches of 80 and
30 copies make 2,220 steps an epoch.

Variants beside the backbones are those of `protopnet_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import protopnet_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The paper's settings on birds; ResNet-34 unless a variant says else."""
  config = protopnet_folder.get_config("paper").unlock()
  config.update(BACKBONES["resnet34"])
  config.data.update(name="cub200", crop=True)
  return apply(config, variants, VARIANTS)


# Name -> channels of a prototype. Of the three that the paper published
# together, ResNet-34 has twice as many as the others.
_CHANNELS = {
  "vgg16": 128,
  "vgg19": 128,
  "resnet34": 256,
  "resnet152": 128,
  "densenet121": 128,
  "densenet161": 128,
}
BACKBONES = {
  name: {
    "backbone": {"name": name, "weights": f"hf:timm/{name}.tv_in1k"},
    "prototypes": {"channels": channels},
  }
  for name, channels in _CHANNELS.items()
}
VARIANTS = {**protopnet_folder.VARIANTS, **BACKBONES}
