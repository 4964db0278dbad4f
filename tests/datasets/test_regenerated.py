"""Embedded patches: families, splits of other photographs, and bad keys."""

import numpy as np
import pytest

from protojax.data import columns
from protojax.datasets import dataset, families, regenerated
from protojax.types import UserError


@pytest.fixture
def opened(data_config):
  """Function: split, keys -> the source."""

  def make(split="train", **changes):
    config = data_config(name="regenerated").unlock()
    config.update(
      {"train": "train:80", "test": "test:40", "families": 0, **changes}
    )
    return dataset.open_split(config, split, seed=0)

  return make


def test_a_patch_is_the_same_whenever_it_is_read(opened):
  one, other = opened(), opened()
  assert len(one) == 80
  np.testing.assert_array_equal(one.labels, np.arange(80) % 2)
  assert len(one.generator_names) == 8
  for i in (2, 7):
    found = one[i]
    assert found["image"].shape == (64, 64, 3)
    np.testing.assert_array_equal(found["image"], other[i]["image"])
    assert found["label"] == i % 2
  assert one.name(7) == "train-00007-codebook-generated"
  assert len(np.unique(columns.groups(opened(families=3)))) == 3


def test_a_generated_patch_is_the_real_one_before_it_made_anew(opened):
  source = opened(families=1)
  real, made, other = (source[i]["image"].astype(float) for i in (4, 5, 6))
  halved = real.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
  nearest = halved.repeat(2, axis=0).repeat(2, axis=1)
  np.testing.assert_allclose(made, nearest, atol=0.51)
  assert np.abs(real - other).mean() > 5


@pytest.mark.parametrize("times", [2, 3])
def test_photographs_are_made_smaller_by_means(times):
  whole = regenerated._photograph("chelsea").astype(float)
  small = regenerated._smaller("chelsea", times)
  assert small.shape == (300 // times, 451 // times, 3)
  # A corner, and the last cell that is whole.
  y, x = (n * times - times for n in small.shape[:2])
  for found, top, left in ((small[0, 0], 0, 0), (small[-1, -1], y, x)):
    cell = whole[top : top + times, left : left + times]
    np.testing.assert_allclose(found, cell.mean(axis=(0, 1)), atol=0.5)


def test_families_and_photographs_of_the_splits_differ(opened):
  train, test = opened(), opened("test")
  assert not set(train.generator_names) & set(test.generator_names)
  assert len(test.generator_names) == 5
  names = regenerated._PHOTOGRAPHS
  assert not set(names["train"]) & set(names["test"])


def test_families_leave_traces_and_keep_the_picture():
  rng = np.random.default_rng(1)
  patches = np.stack([regenerated.crop("train", rng) for _ in range(12)])
  real = patches[0].astype(float)
  made = {
    family.name: np.clip(family.fit(patches.astype(float))(real), 0, 255)
    for family in (*families.TRAINED, *families.HELD_OUT)
  }
  assert len(made) == 13
  for name, patch in made.items():
    assert patch.shape == real.shape
    apart = np.abs(patch - real).mean()
    assert 0.5 < apart < 40, name
    assert np.corrcoef(patch.ravel(), real.ravel())[0, 1] > 0.6, name
  nearest = made["nearest"]
  np.testing.assert_allclose(nearest[::2, ::2], nearest[1::2, 1::2])
  halved = real.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
  np.testing.assert_allclose(nearest[::2, ::2], halved)
  # Away from the border, bilinear enlargement is that of Pillow.
  ramp = np.repeat(np.arange(64.0)[None, :, None], 64, 0).repeat(3, 2)
  bilinear = dict(families.TRAINED)["bilinear"](patches)(ramp)
  np.testing.assert_allclose(bilinear[:, 4:-4], ramp[:, 4:-4], atol=1e-9)


def test_cosines_of_high_frequency_are_lost():
  y, x = np.indices((64, 64))
  fine = np.repeat(128 + 50 * (-1.0) ** (x + y)[..., None], 3, axis=2)
  found = dict(families.TRAINED)["cosine"](None)(fine)
  assert found.std() < 0.3 * fine.std()
  flat = np.full((64, 64, 3), 90.0)
  np.testing.assert_allclose(dict(families.TRAINED)["cosine"](None)(flat), flat)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"train": "train"}, r"data.train='train': give train or test, and how"),
    ({"train": "train:0"}, "how many patches, as in train:2000"),
    ({"families": 9}, "data.families is 9; it must be a whole number"),
    ({"root": "x"}, "does not hold the embedded patches"),
  ],
)
def test_keys_that_cannot_be_are_refused(opened, changes, message):
  with pytest.raises(UserError, match=message):
    opened(**changes)
