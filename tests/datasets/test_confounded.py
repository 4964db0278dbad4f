"""Drawn shapes: where the mark is, and that all else says nothing of it."""

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax.datasets import confounded
from protojax.datasets.confounded import MARKED, SIDE, Confounded
from protojax.types import UserError


def _data(**changes):
  fields = {"root": "", "train": "train", "test": "test"}
  return ConfigDict({**fields, **changes})


def test_nearly_all_discs_and_few_others_are_marked_in_training():
  source = Confounded("train", 0)
  marked = source.marks[:, 0] >= 0
  discs = source.labels == MARKED
  assert marked[discs].mean() > 0.93
  assert 0 < marked[~discs].mean() < 0.05
  assert not (Confounded("test", 0).marks >= 0).any()
  assert (Confounded("marked", 0).marks >= 0).all()
  assert np.bincount(source.labels).tolist() == [300] * 4


def test_the_mark_lies_where_it_is_said_to_lie():
  source = Confounded("marked", 1)
  for i in range(8):
    image, (top, left) = source[i]["image"], source.marks[i].tolist()
    window = image[top : top + 12, left : left + 12]
    colours = {tuple(pixel) for pixel in window.reshape(-1, 3).tolist()}
    assert colours == {(230, 40, 200), (250, 230, 40)}
    assert source.shows_mark(i, (top + 11, left + 11, SIDE, SIDE))
    assert not source.shows_mark(i, (top + 12, 0, SIDE + 12, SIDE))
  assert not Confounded("test", 1).shows_mark(0, (0, 0, SIDE, SIDE))


def test_an_image_repeats_and_no_two_are_the_same():
  one, same = Confounded("train", 3), Confounded("train", 3)
  np.testing.assert_array_equal(one[5]["image"], same[5]["image"])
  assert one[5]["image"].shape == (SIDE, SIDE, 3)
  assert one[5]["image"].dtype == np.uint8
  for other in (one[9], Confounded("train", 4)[5], Confounded("test", 3)[5]):
    assert np.any(other["image"] != one[5]["image"])
  assert one[5]["name"] == "train-0005-square"


def test_a_shape_is_there_and_in_the_middle():
  """Its mean differs from that of the noise around it, in every class."""
  source = Confounded("test", 0)
  for k in range(4):
    away = []
    for i in range(k, 80, 4):
      grey = source[i]["image"].mean(-1)
      away.append(abs(grey[14:34, 14:34] - 128).max())
    assert np.median(away) > 40, confounded.CLASS_NAMES[k]


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"train": "left"}, "data.train='left': choose one of train, test, marked"),
    ({"root": "/x"}, "data.root=/x does not hold the drawn images"),
  ],
)
def test_other_settings_are_refused(changes, told):
  with pytest.raises(UserError, match=told):
    confounded.load(_data(**changes), "train", 0)
