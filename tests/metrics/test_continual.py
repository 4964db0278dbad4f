"""A_T and forgetting of a matrix by hand."""

import numpy as np
import pytest

from protojax.metrics import continual

NAN = np.nan


def test_by_hand():
  scores = np.array([[0.9, NAN, NAN], [0.7, 0.8, NAN], [0.6, 0.9, 0.5]])
  assert continual.average(scores) == pytest.approx(2 / 3)
  assert continual.forgetting(scores) == pytest.approx((0.3 - 0.1) / 2)


def test_a_model_that_stands_still_forgets_nothing():
  assert continual.forgetting(np.full((4, 4), 0.7)) == 0
  assert continual.forgetting(np.full((1, 1), 0.7)) == 0


def test_what_was_not_measured_is_left_out():
  scores = np.array([[NAN, NAN, NAN], [0.8, 0.9, NAN], [0.5, 0.9, 0.7]])
  assert continual.forgetting(scores) == pytest.approx(0.3 / 2)
