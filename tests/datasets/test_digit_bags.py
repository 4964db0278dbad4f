"""Bags of digits: what is in them, and that splits share nothing."""

import ml_collections
import numpy as np
import pytest

from protojax.datasets import digit_bags
from protojax.types import UserError


def _data(**changes):
  settings = {"tasks": (), "bags": 6, "least": 30, "most": 60, **changes}
  return ml_collections.ConfigDict(settings)


@pytest.fixture(scope="module")
def train():
  return digit_bags.load(_data(), "train", 0)


def test_every_second_bag_has_the_digit_of_its_task(train):
  assert train.tasks == ("nine", "four", "seven")
  assert train.labels.tolist() == [0, 1] * 3 + [2, 3] * 3 + [4, 5] * 3
  scans, digits = digit_bags._digits()
  assert scans.shape == (1797, 64)
  for i, bag in enumerate(train.reader.bags):
    own = digits[bag.scans]
    np.testing.assert_array_equal(own == bag.task, bag.labels == 1)
    share = bag.labels.mean()
    assert (0.04 <= share <= 0.21) if train.labels[i] % 2 else share == 0
    rest = set(own[bag.labels == 0].tolist())
    assert rest <= set(digit_bags.BACKGROUNDS[bag.task])


def test_no_scan_is_in_two_splits(train):
  test = digit_bags.load(_data(), "test", 0)

  def scans(found):
    return {int(s) for bag in found.reader.bags for s in bag.scans}

  assert not scans(train) & scans(test)


def test_the_seed_draws_the_bags(train):
  again = digit_bags.load(_data(), "train", 0)
  np.testing.assert_array_equal(again[3]["bag"], train[3]["bag"])
  other = digit_bags.load(_data(), "train", 1)
  assert other.sizes("bag").tolist() != train.sizes("bag").tolist()


def test_vectors_are_those_of_the_pictures(train):
  pictures = train.reader.pictures(1, [0, 5, 7])
  assert pictures.shape == (3, 32, 32, 3)
  found = digit_bags.embed(pictures)
  np.testing.assert_allclose(found, train[1]["bag"][[0, 5, 7]], atol=0.02)


def test_an_unknown_task_and_sizes_are_refused():
  with pytest.raises(UserError, match="has 'two'; choose from nine, four"):
    digit_bags.load(_data(tasks=("two",)), "train", 0)
  with pytest.raises(UserError, match="expected 1 <= least <= most"):
    digit_bags.load(_data(least=9, most=8), "train", 0)
