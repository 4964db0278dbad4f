"""TCSA-UDA's arms on the embedded brain, T1 to an inverted contrast."""

QUESTION = "Do relations of words help a segmentation to another contrast?"

_FILE = "configs/tcsa_uda_mni.py"
_BATCH_NORM = {"decoder.norm": "batch"}

ARMS = {
  "source only": (f"{_FILE}:source", {}),
  "+ adversary": (f"{_FILE}:adversarial", {}),
  "+ centres": (f"{_FILE}:centres", {}),
  "+ relations": (_FILE, {}),
  "shuffled relations": (f"{_FILE}:shuffled", {}),
  "the authors' detached loss": (f"{_FILE}:detached", {}),
  "+ adversary, selective entropy": (
    f"{_FILE}:adversarial",
    {"entropy.weight": 0.1, "entropy.views": 2},
  ),
  "source only, BatchNorm": (f"{_FILE}:source", _BATCH_NORM),
  "source only, BatchNorm of each domain": (
    f"{_FILE}:source",
    {**_BATCH_NORM, "backbone.norm_by_domain": True},
  ),
  "target with labels": (f"{_FILE}:bound", {}),
}

FIGURES = {
  "Dice": "volumes.dice",
  "surface distance, mm": "volumes.surface_mm",
  "HD95, mm": "volumes.hd95_mm",
  "Dice of pixels": "dice",
  "Dice of the source": "source.dice",
  "relation": "relation",
}

SEEDS = (0, 1, 2)
