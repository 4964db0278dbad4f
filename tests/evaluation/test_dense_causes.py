"""What regions are said to rest on, where it is known."""

import numpy as np
import pytest

from configs import scaleprotoseg_planted
from protojax import methods
from protojax.evaluation import dense_causes
from protojax.explain.blocks import Explanation, Table
from tests import starts


def _explained(rows):
  names = ("hue", "saturation", "texture", "contrast", "shape")
  table = Table(("segment", *names), rows, "Segments, and because of what")
  overview = Table(("class", *names), rows, "Because of what, by class")
  return Explanation("0", "0", "local", "test", blocks=(table, overview))


def test_a_region_counts_by_its_largest_loss():
  """Gains are no losses, and a region without a loss has no reason."""
  first = _explained(((1, 0.3, 0.1, -0.5, 0.0, 0.0), (2, *[-0.1] * 5)))
  second = _explained(((1, None, 0.2, 0.0, 0.6, 0.0),))
  found = dense_causes.counted([first, second], "contrast")
  assert found["regions"] == 3
  assert found["first"] == 0.5
  assert found["shares"] == pytest.approx(
    {"hue": 0.375, "shape": 0, "texture": 0, "contrast": 0.375}
    | {"saturation": 0.25}
  )
  nothing = dense_causes.counted([_explained(())], "hue")
  assert nothing["regions"] == 0
  assert nothing["first"] is None
  assert set(nothing["shares"].values()) == {None}


@pytest.mark.slow
def test_shares_are_those_of_the_regions(tmp_path):
  config = scaleprotoseg_planted.get_config("contrast,debug")
  method = methods.load(config)
  assert method.dataset.class_names[1] == "contrast 0.25"
  state = starts.begun(method.init)
  starts.ended(tmp_path / "run", method, state)
  found = dense_causes.measure(tmp_path / "run", 4)
  names = {"hue", "shape", "texture", "contrast", "saturation"}
  assert set(found["shares"]) == names
  assert sum(found["shares"].values()) == pytest.approx(1)
  assert 0 <= found["first"] <= 1
  assert np.isfinite(found["miou"])
