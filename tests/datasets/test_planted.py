"""Planted data: the label has one cause, and nothing else predicts it."""

import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.datasets import photos, planted
from protojax.types import UserError

COUNT = 120


@pytest.fixture(scope="module")
def images():
  """Characteristic -> some training images and their labels."""
  found = {}
  for name in planted.LEVELS:
    source = planted.opened(name, "train", 0)
    made = [source[i]["image"] for i in range(COUNT)]
    found[name] = np.array(made), source.labels[:COUNT]
  return found


def _luma(images):
  return images @ np.array([0.299, 0.587, 0.114])


def _statistics(images):
  """Plain measures of what may be planted, [n, ...] each."""
  luma = _luma(images.astype(float))
  chroma = np.ptp(images.astype(float), axis=-1)
  hsv = np.array([np.array(Image.fromarray(x).convert("HSV")) for x in images])
  angle = hsv[..., 0] / 255 * 2 * np.pi
  weight = chroma / chroma.sum(axis=(1, 2), keepdims=True)
  hue = [(f(angle) * weight).sum(axis=(1, 2)) for f in (np.cos, np.sin)]
  down = np.diff(luma, n=2, axis=1)[:, :, 1:-1]
  across = np.diff(luma, n=2, axis=2)[:, 1:-1]
  contrast = luma.std(axis=(1, 2))
  grain = np.median(np.abs(down + across), axis=(1, 2))
  return {
    "hue": np.stack(hue, axis=1),
    "saturation": np.log(chroma.mean(axis=(1, 2)) + 1)[:, None],
    "contrast": np.log(contrast + 1)[:, None],
    "texture": (grain / contrast)[:, None],
  }


def _guessed(values, labels):
  """How often the nearest mean of the other half of the images is right."""
  halves = np.arange(len(labels)) // (len(labels) // 2)
  right = 0
  for half in (0, 1):
    known, asked = halves != half, halves == half
    classes = np.unique(labels)
    means = [values[known & (labels == k)].mean(axis=0) for k in classes]
    scale = values[known].std(axis=0)
    far = [
      (((values[asked] - m[None]) / scale[None]) ** 2).sum(1) for m in means
    ]
    right += np.sum(classes[np.argmin(far, axis=0)] == labels[asked])
  return right / len(labels)


@pytest.mark.parametrize("name", ["hue", "saturation", "contrast", "texture"])
def test_the_planted_statistic_tells_the_label(images, name):
  made, labels = images[name]
  chance = 1 / len(planted.LEVELS[name])
  assert _guessed(_statistics(made)[name], labels) > chance + 0.25


@pytest.mark.parametrize(
  ("name", "other"),
  [
    (name, other)
    for name in planted.LEVELS
    for other in ("hue", "saturation", "contrast", "texture")
    # Grain is weighed by the contrast, which a planted contrast changes.
    if name != other and (name, other) != ("contrast", "texture")
  ],
)
def test_no_other_statistic_tells_the_label(images, name, other):
  made, labels = images[name]
  chance = 1 / len(planted.LEVELS[name])
  # Three standard deviations of guessing.
  bound = chance + 3 * np.sqrt(chance * (1 - chance) / COUNT)
  assert _guessed(_statistics(made)[other], labels) < bound + 0.05


def test_images_are_functions_of_seed_split_and_number():
  one, same = (planted.opened("hue", "test", 3) for _ in range(2))
  assert_array_equal(one[5]["image"], same[5]["image"])
  assert one[5]["image"].shape == (planted.SIDE, planted.SIDE, 3)
  for other in (one[6], planted.opened("hue", "test", 4)[5]):
    assert (other["image"] != one[5]["image"]).any()
  train = planted.opened("hue", "train", 3)[5]
  assert (train["image"] != one[5]["image"]).any()
  assert len(np.unique(one.labels)) == len(one.class_names)
  assert one[5]["label"] == one.labels[5]


def test_patches_of_train_and_test_share_no_pixel():
  for name in planted.PHOTOGRAPHS:
    taken = {}
    for split in ("train", "test"):
      mask = np.zeros(photos.photograph(name).shape[:2], bool)
      for x, y in planted.places(split)[name]:
        mask[y : y + planted.SIDE, x : x + planted.SIDE] = True
      taken[split] = mask
      assert mask.any()
    assert not (taken["train"] & taken["test"]).any()


def test_no_such_characteristic():
  with pytest.raises(UserError, match=r"characteristic='smell'.*hue"):
    planted.opened("smell", "train", 0)
  with pytest.raises(UserError, match="no split 'validation'"):
    planted.opened("hue", "validation", 0)
