"""TCSA-UDA with and without relations, on embedded digits."""

QUESTION = "Do relations of strokes help where there are 45 pairs of classes?"

_FILE = "configs/tcsa_uda_digits.py"
_SMALL = {"warm.steps": 300, "adapt.steps": 600, "data.test": "test:60"}

ARMS = {
  name: (f"{_FILE}{variant}", _SMALL)
  for name, variant in {
    "source only": ":source",
    "without relations": ":centres",
    "with relations": "",
  }.items()
}

FIGURES = {
  "Dice": "dice",
  "mIoU": "miou",
  "Dice of the source": "source.dice",
  "distance of centres": "centres",
  "relation": "relation",
}

SEEDS = (0, 1, 2)
