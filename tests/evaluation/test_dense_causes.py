"""What regions are said to rest on, where it is known."""

import numpy as np
import pytest

from configs import scaleprotoseg_planted
from protojax import methods
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.evaluation import dense_causes
from tests import starts


@pytest.mark.slow
def test_shares_are_those_of_the_regions(tmp_path):
  config = scaleprotoseg_planted.get_config("contrast,debug")
  method = methods.load(config)
  assert method.dataset.class_names[1] == "contrast 0.5"
  state = starts.begun(method.init)
  workdir.claim(tmp_path / "run", config, methods.later)
  workdir.claim_classes(tmp_path / "run", method.dataset.class_names)
  checkpoints = Checkpoints(tmp_path / "run")
  checkpoints.save(Progress(finished=True), state, {})
  checkpoints.close()
  found = dense_causes.measure(tmp_path / "run", 4)
  names = {"hue", "shape", "texture", "contrast", "saturation"}
  assert set(found["shares"]) == names
  assert sum(found["shares"].values()) == pytest.approx(1)
  assert 0 <= found["first"] <= 1
  assert np.isfinite(found["miou"])
