"""Scenes of digits in two domains, and how alike their strokes are."""

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax.datasets import digit_domains, digit_scenes
from protojax.types import UserError


def load(domain, split="train", seed=0):
  config = {"root": "", "domain": domain, "train": "train:3", "test": "test:3"}
  return digit_domains.load(ConfigDict(config), split, seed)


def test_a_blur_is_that_of_scipy_at_each_pixel():
  ndimage = pytest.importorskip("scipy.ndimage")
  grey = np.random.default_rng(0).uniform(0, 255, (7, 9)).astype(np.float32)
  wanted = 255 - grey
  for axis in (0, 1):
    wanted = ndimage.convolve1d(
      wanted, (0.25, 0.5, 0.25), axis=axis, mode="nearest"
    )
  np.testing.assert_allclose(digit_domains.shifted(grey), wanted, rtol=1e-5)


def test_domains_show_other_scenes_and_the_same_classes():
  source, target = load("source"), load("target")
  assert source.class_names == target.class_names
  assert source.class_names[0] == "background"
  for each in (source, target):
    for i in range(3):
      example = each[i]
      grey = example["image"]
      np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
      assert 0 < (example["mask"] > 0).mean() < 0.9
      assert example["mask"].max() <= 10
  assert not np.array_equal(source[0]["mask"], target[0]["mask"])
  # Ink is bright in one domain and dark in the other.
  bright = [
    np.mean(
      [
        x["image"][x["mask"] > 0].mean()
        for x in map(each.__getitem__, range(3))
      ]
    )
    for each in (source, target)
  ]
  assert bright[0] > 128 > bright[1]


def test_background_is_every_texture_of_the_scene():
  source = load("source")
  whole = digit_scenes.load(
    ConfigDict({"root": "", "train": "train:3", "test": "test:3"}), "train", 0
  )
  for i in range(3):
    wanted = whole[i]["mask"]
    np.testing.assert_array_equal(
      source[i]["mask"], np.where(wanted < 10, wanted + 1, 0)
    )


def test_strokes_of_eight_and_nine_are_more_alike_than_of_zero_and_one():
  found = digit_domains.similarities(ConfigDict({"root": ""}), 0)
  np.testing.assert_allclose(found, found.T)
  np.testing.assert_allclose(np.diagonal(found), 1)
  assert found[1 + 8, 1 + 9] > found[1 + 0, 1 + 1]
  assert not found[0, 1:].any()


def test_another_domain_is_refused():
  with pytest.raises(UserError, match="choose source or target"):
    load("mr")
