"""Label diffusion on the embedded brain: one of seven blocks has labels.

Arms as in `label_diffusion_digits`, with none and 40 % of the regions of each
pseudo-label map made wrong, and two bounds: the labelled block alone, and all
blocks labelled.
"""

from benchmarks import experiment

QUESTION = "Do anchors help where pseudo-labels of a brain are wrong?"

_FILE = "configs/noisy_pseudo_label_diffusion_mni.py"
_SMALL = {
  "train.steps": 200,
  "unlabelled_batch_size": 4,
  "data.image_size": 64,
  "backbone.name": "unet_small",
}
_KINDS = {"full": "", "no anchors": ":unanchored", "plain": ":plain"}
_RATES = (0, 40)

ARMS = {
  f"{kind}, {rate} % wrong": (
    f"{_FILE}{variant}",
    {**_SMALL, "corruption.rate": rate / 100},
  )
  for kind, variant in _KINDS.items()
  for rate in _RATES
}
ARMS["labelled images alone"] = f"{_FILE}:supervised", _SMALL
ARMS["all labelled"] = f"{_FILE}:all", _SMALL

FIGURES = {
  "Dice": "volumes.dice",
  "surface distance, mm": "volumes.surface_mm",
  "HD95, mm": "volumes.hd95_mm",
  "mIoU": "miou",
  "ECE": "ece",
  "margin, t = 0.5": "margins.t500",
}

SEEDS = (0, 1, 2)


def TABLE(found):
  """A row for each arm; its Dice less that with no label made wrong."""
  return experiment.paired(found, _base, "Dice, less at 0 %", "Dice")


def _base(arm):
  kind, _, rate = arm.partition(", ")
  return f"{kind}, 0 % wrong" if rate else arm
