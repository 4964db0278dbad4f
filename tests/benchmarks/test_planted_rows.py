"""The table of planted causes has means over seeds, and no sign before 0."""

from benchmarks import planted


def test_a_row_has_means_and_its_own_share_bold():
  of_seeds = {
    seed: {
      **dict.fromkeys(planted.FIGURES, 0.0),
      "hue": share,
      "shape": -0.002,
      "accuracy": share,
    }
    for seed, share in enumerate((0.5, 0.75))
  }
  (row,) = planted.table({"hue": of_seeds})
  assert row == {
    "cause": "hue",
    "contrast": "0.00",
    "hue": "**0.62**",
    "saturation": "0.00",
    "shape": "0.00",
    "texture": "0.00",
    "first": "0.00",
    "r": "0.00",
    "accuracy": "0.625",
  }
