"""The embedded digits: all of them, once."""

from ml_collections import ConfigDict
import numpy as np
import pytest
from sklearn.datasets import load_digits

from protojax import datasets
from protojax.datasets import digits
from protojax.types import UserError

DATA = ConfigDict({"root": ""})


def test_splits_hold_every_scan_once():
  train, test = (digits.load(DATA, s, 0) for s in ("train", "test"))
  together = np.concatenate([train.numbers, test.numbers])
  assert sorted(together) == list(range(1797))
  assert 0.19 < len(test) / 1797 < 0.21
  assert (np.bincount(test.labels) > 30).all()


def test_scans_are_those_of_scikit_learn():
  theirs = load_digits()
  test = digits.load(DATA, "test", 1)
  np.testing.assert_array_equal(test.labels, theirs.target[test.numbers])
  pixels = theirs.images[test.numbers]
  assert (np.abs(test.images[..., 0] / 255 - pixels / 16) < 1 / 255).all()
  assert (test.images == test.images[..., :1]).all()
  assert test[3]["name"] == test.name(3)
  assert test.name(3).startswith(f"{test.labels[3]}-")
  assert "digits" in datasets.names()


def test_a_root_is_refused():
  with pytest.raises(UserError, match="does not hold the embedded digits"):
    digits.load(ConfigDict({"root": "there"}), "test", 0)
