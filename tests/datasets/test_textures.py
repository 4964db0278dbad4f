"""The embedded textures: disjoint splits, defects inside their masks."""

import importlib.util
import time

import numpy as np
import pytest
from scipy import ndimage

from protojax.datasets import anomalies, photos, textures
from protojax.types import UserError
from tests.datasets import anomaly_fakes as fakes


@pytest.fixture(scope="module")
def collection():
  start = time.perf_counter()
  made = textures.made()
  print(f"textures made in {time.perf_counter() - start:.2f} s")
  return made


def clean(category, split):
  """The crops without their defects."""
  image, side = photos.photograph(category), textures.SIDE
  corners = textures.corners(category, image, split)
  return [image[y : y + side, x : x + side] for x, y in corners]


@pytest.mark.parametrize("category", textures.CATEGORIES)
def test_no_pixel_is_in_two_splits(category):
  image = photos.photograph(category)
  seen = np.zeros(image.shape[:2], int)
  for split, count in textures.COUNTS.items():
    corners = textures.corners(category, image, split)
    assert len(np.unique(corners, axis=0)) == count
    own = np.zeros(image.shape[:2], bool)
    for x, y in corners:
      assert own[y : y + textures.SIDE, x : x + textures.SIDE].size == (
        textures.SIDE**2
      )
      own[y : y + textures.SIDE, x : x + textures.SIDE] = True
    seen += own
  assert seen.max() == 1


def test_splits():
  train, calibration, test = (
    anomalies.open_split(fakes.config(name="textures"), split)
    for split in anomalies.SPLITS
  )
  assert [len(train), len(calibration), len(test)] == [180, 45, 120]
  assert test.category_names == ("brick", "grass", "gravel")
  assert test.class_names == ("normal", "blur", "foreign", "stain", "turn")
  assert np.bincount(test.labels).tolist() == [60, 15, 15, 15, 15]
  assert not train.labels.any()
  assert not calibration.labels.any()
  for i in range(len(test)):
    assert test.truth(i).any() == bool(test.labels[i])
  few = anomalies.open_split(fakes.config(name="textures", shots=4), "train")
  assert len(few) == 3 * 4 * 22


def test_defects_are_where_their_truth_says(collection):
  crops = {
    (category, split): iter(clean(category, split))
    for category in textures.CATEGORIES
    for split in textures.COUNTS
  }
  for entry, image, truth in zip(
    collection.entries, collection.images, collection.truths, strict=True
  ):
    before = next(crops[entry.category, entry.split])
    np.testing.assert_array_equal(image[~truth], before[~truth])
    assert image.shape == (textures.SIDE, textures.SIDE, 3)
    if entry.kind == "normal":
      assert not truth.any()
      continue
    assert 0.01 < truth.mean() < 0.08
    assert ndimage.label(truth, np.ones((3, 3)))[1] == 1
    # Flat pieces of a brick are alike wherever they come from.
    changed = (image != before).any(-1)[truth]
    assert changed.mean() > 0.75, entry.name
    assert np.abs(image - before.astype(float))[truth].mean() > 9


def test_every_time_the_same(collection):
  again = textures.made()
  assert again.entries == collection.entries
  np.testing.assert_array_equal(again.images, collection.images)
  np.testing.assert_array_equal(again.truths, collection.truths)


def test_blobs_differ_and_keep_their_area():
  blobs = [textures.blob(np.random.default_rng(seed), 96) for seed in range(50)]
  shares = np.array([blob.mean() for blob in blobs])
  assert shares.min() > 0.01
  assert shares.max() < 0.08
  assert shares.std() > 0.01
  # None touches the border, so none is cut off.
  for blob in blobs:
    assert not blob[[0, -1]].any()
    assert not blob[:, [0, -1]].any()


def test_missing_package(monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda n: None if n == "skimage" else find(n)
  )
  with pytest.raises(UserError, match=r"scikit-image .*protojax\[demo\]"):
    textures.made()
