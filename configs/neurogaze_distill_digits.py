"""NeuroGaze-Distill on a stand-in: digits, and edges of other digits.

python train.py --config=configs/neurogaze_distill_digits.py
python explain.py

There are no faces with emotions and no recordings of an EEG to be had here.
Images are eight digits of scikit-learn; the "expensive modality" is another
measurement of other digit images, whose targets are the places of eight
emotions with noise. The student is scored on the digits inverted, on a texture,
blurred and rotated, two classes missing. It shows that the pieces work, and
nothing about emotion. Macro F1 is 0.985 on the test digits and 0.599 on the
shifted ones, means of five seeds; a bank without meaning does as well
(docs/neurogaze_distill.md).

Variants are those of `neurogaze_distill_folder.py`.
"""

from ml_collections import ConfigDict

from protojax.configs import neurogaze_distill_folder
from protojax.configs.variants import apply


def get_config(variants: str = "") -> ConfigDict:
  """The folder's config on the embedded digits."""
  config = neurogaze_distill_folder.get_config().unlock()
  config.data.update(
    name="measured_digits", image_size=8, augment="", validation_fraction=0.0
  )
  config.external.sets = ("inverted", "textured", "blurred", "rotated")
  config.batch_size = 48
  config.modality.update(name="measured_digits", size=8)
  config.teacher.update(epochs=15, patience=0, widths=(32, 64), rate=2e-3)
  config.bank.channels = 32
  config.image_teacher.update(name="convnet", epochs=15, rate=3e-3)
  config.backbone.name = "convnet"
  # The variance of a class is below the paper's cap here from the start.
  config.d_geo.update(
    positive_classes=("one", "two"), start_epoch=6, end_epoch=18, hard_gate=0.02
  )
  config.optim.update(epochs=25, rate=3e-3)
  return apply(config, variants, neurogaze_distill_folder.VARIANTS)
