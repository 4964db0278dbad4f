"""In float64, a run through all stages ends in the same on other devices."""

import numpy as np
from PIL import Image
import pytest

from benchmarks import rounding

pytestmark = pytest.mark.slow

# 50 steps: warm, joint by the batch's statistics, push, both last layers.
_FLAGS = (
  "--config=configs/protopnet_folder.py:debug",
  "--config.batch_size=6",
  "--config.warm.epochs=2",
  "--config.joint.epochs=4",
  "--config.joint.train_norm=True",
  "--config.last.solver=adam",
  "--config.last.epochs=2",
  "--config.prune.epochs=2",
)


@pytest.fixture
def folder(tmp_path):
  """30 training and 12 test images of three classes, told by their tint."""
  rng = np.random.default_rng(0)
  for split, count in (("train", 10), ("test", 4)):
    for k, name in enumerate(("red", "green", "blue")):
      place = tmp_path / "data" / split / name
      place.mkdir(parents=True)
      for i in range(count):
        pixels = rng.integers(0, 200, (32, 32, 3))
        pixels[..., k] += 55
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
  return tmp_path / "data"


def test_devices_differ_by_rounding_alone(folder, tmp_path):
  """A fault would not be smaller in float64, where rounding is 1e-16."""
  flags = (*_FLAGS, f"--config.data.root={folder}")
  for layout in ("1 device", "2 processes"):
    rounding.train(flags, tmp_path / layout, "float64", layout)
  one, two = tmp_path / "1 device", tmp_path / "2 processes"
  off, others = rounding.apart(one, two)
  assert 0 < off < 1e-9
  assert not others
  assert rounding.ends(one)["accuracy"] == rounding.ends(two)["accuracy"]
