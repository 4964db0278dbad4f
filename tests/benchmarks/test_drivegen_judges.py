"""Judges of scenes that were drawn anew, and what they judge."""

import numpy as np
import pytest

from benchmarks import drivegen
from protojax import methods
from protojax.configs import text_to_image_scenes
from protojax.datasets.scene_world import CONDITIONS
from tests import starts

SNOW, NIGHT = CONDITIONS.index("snow"), CONDITIONS.index("night")
ARMS = ("none", "both 300, 16")


@pytest.mark.slow
def test_true_scenes_are_read_right_and_others_are_not():
  w = drivegen.world(12, seed=1)
  true = drivegen.judged(w, drivegen.real(w.scenes, NIGHT), NIGHT)
  assert true["thing"] >= 0.95
  assert true["condition"] >= 0.9
  # As they were: nothing has come of the snow, and all agrees.
  same = drivegen.judged(w, w.images, SNOW)
  assert same["condition"] <= 0.1
  assert same["agreement"] == pytest.approx(1)
  noise = np.random.default_rng(0).integers(0, 256, w.images.shape, np.uint8)
  nothing = drivegen.judged(w, noise, NIGHT)
  assert nothing["thing"] <= 0.1
  assert abs(nothing["agreement"]) <= 0.2


@pytest.mark.slow
def test_all_arms_have_all_figures(tmp_path):
  config = text_to_image_scenes.get_config("weather,debug")
  config.data.weather = True
  method = methods.load(config)
  base = starts.ended(tmp_path / "base", method, starts.averaged(method))
  found = drivegen.measured(base, tmp_path, 2, 4, 2.0, ARMS, ("snow",))
  assert set(found) == {drivegen.REAL, *ARMS}
  assert {len(row) for row in found.values()} == {len(drivegen.FIGURES)}
  assert all(np.isfinite(list(row.values())).all() for row in found.values())
