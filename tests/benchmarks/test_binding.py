"""The best of several draws, as the experiments of VSC count it."""

import numpy as np
import pytest

from benchmarks import binding
from protojax.evaluation.scene_scores import Score


def test_a_caption_counts_that_one_draw_shows():
  strict = np.array([[True, False, False, False], [True, True, False, False]])
  scores = [Score(row.astype(float), row) for row in strict]
  assert binding.best_of(scores) == pytest.approx(0.5)
  assert binding.best_of(scores[:1]) == pytest.approx(0.25)
