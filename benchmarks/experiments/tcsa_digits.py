"""TCSA-UDA with and without relations, on embedded digits."""

QUESTION = "Do relations of strokes help where there are 45 pairs of classes?"

_FILE = "configs/tcsa_uda_digits.py"

ARMS = {
  "source only": (f"{_FILE}:source", {}),
  "without relations": (f"{_FILE}:centres", {}),
  "with relations": (_FILE, {}),
  "shuffled relations": (f"{_FILE}:shuffled", {}),
}

FIGURES = {
  "Dice": "dice",
  "mIoU": "miou",
  "Dice of the source": "source.dice",
  "relation": "relation",
}

SEEDS = (0, 1, 2)
