"""Fine grain, the same for every image, as strong as its contrast."""

import numpy as np

from protojax.modify import grain, modification
from protojax.modify.modification import Modification


def _wavy(height, width, swing):
  """Grey waves of this amplitude around 128."""
  y, x = np.mgrid[:height, :width]
  levels = 128 + swing * np.sin(x / 9) * np.cos(y / 7)
  return np.rint(levels).astype(np.uint8)[..., None].repeat(3, -1)


def test_grain_leaves_mean_and_contrast_and_is_a_share_of_it():
  images = np.stack([_wavy(300, 300, swing) for swing in (20, 80)])
  found = np.asarray(grain.add(images, 0.5)).astype(float)
  before = images.astype(float)
  np.testing.assert_array_equal(found[..., :1].repeat(3, -1), found)
  for one, was in zip(found[..., 0], before[..., 0], strict=True):
    assert abs(one.mean() - was.mean()) < 0.2
    np.testing.assert_allclose(one.std(), was.std(), rtol=0.02)
    # What was there is paler by the root of 1 + 0.5², and grain beside it.
    kept = np.cov(one.ravel(), was.ravel())[0, 1] / was.var()
    np.testing.assert_allclose(kept, 1 / np.sqrt(1.25), rtol=0.02)
  # A fourth of the contrast, a fourth of the grain.
  added = found - before
  np.testing.assert_allclose(added[0].std(), added[1].std() / 4, rtol=0.03)


def test_what_has_no_contrast_gets_no_grain():
  flat = np.full((1, 20, 20, 3), 90, np.uint8)
  np.testing.assert_array_equal(grain.add(flat, 3.0), flat)


def test_padding_moves_no_grain():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (1, 20, 33, 3), np.uint8)
  padded = np.zeros((1, 64, 64, 3), np.uint8)
  padded[:, :20, :33] = image
  one = Modification("grain", "grain", (0.3,))
  sizes = np.array([[20, 33]], np.int32)
  found = np.asarray(modification.modify(padded, one, sizes))[:, :20, :33]
  expected = np.asarray(modification.modify(image, one))
  # The sums of both go in another order, so a level may round the other way.
  apart = np.abs(found.astype(int) - expected)
  assert apart.max() <= 1
  assert (apart > 0).mean() < 1e-3


def test_black_and_white_stay_within_bytes():
  ends = np.zeros((1, 8, 8, 3), np.uint8)
  ends[:, 4:] = 255
  found = np.asarray(grain.add(ends, 5.0))
  assert found.min() == 0
  assert found.max() == 255
