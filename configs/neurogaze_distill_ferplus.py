"""NeuroGaze-Distill on FERPlus, with a bank from DREAMER, at the paper's size.

python train.py --config=configs/neurogaze_distill_ferplus.py
  --config.data.root=DIR --config.modality.root=DREAMER.mat

DIR holds train.npz and valid.npz, each with "images" (uint8, 48 x 48 grey) and
"labels" (protojax/datasets/ferplus.py). Other faces to score on are CSV files:
--config.external.name=emotion_csv --config.external.root=DIR
--config.external.sets="('ckplus','affectnet_mini')". A bank that is there
already goes in with --config.teacher_prototypes=FILE.npz.

ResNet-18, 224 pixels, batches of 128, 100 epochs of AdamW at 2e-4, weight decay
0.05, cosine, gradients clipped at 1.0, and all weights of losses are from the
paper's README (its `A3_full` is arm B3); `:resnet50` is its larger student. The
authors choose the epoch by macro F1 on the images they report; here it is
chosen on a tenth of the training images. They have published no code, and the
teacher, q_pro, the formula of D-Geo and the image teacher are ours:
docs/neurogaze_distill.md. Nothing of it was run at this size.
Variants: `:resnet50`; `:mahnob` reads MAHNOB-HCI in place of DREAMER; `:debug`
is that of `neurogaze_distill_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import neurogaze_distill_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The config, with the variants named."""
  config = neurogaze_distill_folder.get_config().unlock()
  config.data.update(name="ferplus", test="valid")
  config.modality.update(name="dreamer", channels=4)
  config.backbone.pretrained = config.image_teacher.pretrained = False
  config.backbone.weights = "hf:timm/resnet18.tv_in1k"
  config.image_teacher.name = "resnet50"
  config.image_teacher.weights = "hf:timm/resnet50.tv_in1k"
  config.d_geo.positive_classes = ("happiness", "surprise")
  config.optim.patience = 100
  return apply(config, variants, VARIANTS)


_DEBUG = neurogaze_distill_folder.VARIANTS["debug"]
VARIANTS = {
  "resnet50": {
    "backbone": {"name": "resnet50", "weights": "hf:timm/resnet50.tv_in1k"}
  },
  "mahnob": {"modality": {"name": "mahnob"}},
  "debug": {**_DEBUG, "d_geo": {**_DEBUG["d_geo"], "positive_classes": ()}},
}
