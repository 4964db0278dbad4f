"""In float64, a run through all stages ends in the same on other devices."""

import pytest

from benchmarks import rounding

pytestmark = pytest.mark.slow

# 150 steps: warm, joint by the batch's statistics, push, both last layers.
_FLAGS = (
  "--config=configs/protopnet_photos.py:debug",
  "--config.joint.epochs=2",
  "--config.joint.train_norm=True",
  "--config.last.solver=adam",
  "--config.last.epochs=1",
  "--config.prune.epochs=1",
)


def test_devices_differ_by_rounding_alone(tmp_path):
  """A fault would not be smaller in float64, where rounding is 2e-16."""
  for layout in ("1 device", "2 processes"):
    rounding.train(_FLAGS, tmp_path / layout, "float64", layout)
  one, two = tmp_path / "1 device", tmp_path / "2 processes"
  off, others = rounding.apart(one, two)
  assert 0 < off < 1e-9
  assert not others
  assert rounding.ends(one)["accuracy"] == rounding.ends(two)["accuracy"]
