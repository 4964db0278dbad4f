"""TCSA-UDA's arms on the embedded brain, T1 to an inverted contrast."""

QUESTION = "Do relations of words help a segmentation to another contrast?"

_FILE = "configs/tcsa_uda_mni.py"
_SMALL = {"warm.steps": 40, "adapt.steps": 160}

ARMS = {
  name: (f"{_FILE}{variant}", _SMALL)
  for name, variant in {
    "source only": ":source",
    "+ adversary": ":adversarial",
    "+ centres": ":centres",
    "+ relations": "",
    "shuffled relations": ":shuffled",
    "the authors' detached loss": ":detached",
    "target with labels": ":bound",
  }.items()
}

FIGURES = {
  "Dice": "volumes.dice",
  "surface distance, mm": "volumes.surface_mm",
  "HD95, mm": "volumes.hd95_mm",
  "Dice of pixels": "dice",
  "Dice of the source": "source.dice",
  "distance of centres": "centres",
  "relation": "relation",
}

SEEDS = (0, 1, 2)
