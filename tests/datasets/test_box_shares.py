"""Boxes: pixels to shares and back, and the crop of the reference."""

import numpy as np
import pytest

from protojax.datasets import box_shares


def test_a_crop_is_that_of_the_reference():
  """Rows y:y+h and columns x:x+w, whatever the size of the image."""
  draw = np.random.default_rng(0)
  for _ in range(300):
    height, width = draw.integers(1, 4000, 2).tolist()
    x, y = int(draw.integers(width)), int(draw.integers(height))
    w = int(draw.integers(1, width - x + 1))
    h = int(draw.integers(1, height - y + 1))
    # Every pixel tells where it is, and takes no memory.
    image = np.broadcast_to(np.zeros(3, np.uint8), (height, width, 3))
    image = np.lib.stride_tricks.as_strided(image, strides=(0, 0, 0))
    shares = box_shares.shares((x, y, w, h), height, width)
    assert shares.dtype == np.float32
    assert box_shares.cut(image, shares[None]).shape == (h, w, 3)
    edges = np.rint(shares * np.array([height, width] * 2)).astype(int)
    assert edges.tolist() == [y, x, y + h, x + w]


def test_a_crop_holds_the_right_pixels():
  image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
  got = box_shares.cut(image, box_shares.shares((5, 7, 11, 13), 30, 40)[None])
  np.testing.assert_array_equal(got, image[7:20, 5:16])


def test_of_several_boxes_the_largest_and_of_none_the_image():
  image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
  found = [box_shares.shares(b, 30, 40) for b in ((0, 0, 9, 9), (2, 3, 9, 10))]
  np.testing.assert_array_equal(
    box_shares.cut(image, np.stack(found)), image[3:13, 2:11]
  )
  np.testing.assert_array_equal(
    box_shares.cut(image, np.zeros((0, 4), np.float32)), image
  )


def test_boxes_over_the_border_are_cut_off():
  image = np.zeros((30, 40, 3), np.uint8)
  shares = box_shares.shares((-3, 20, 50, 50), 30, 40)
  assert box_shares.cut(image, shares[None]).shape == (10, 40, 3)
  with pytest.raises(ValueError, match=r"5 x 5 pixels at \(40, 0\) lies out"):
    box_shares.shares((40, 0, 5, 5), 30, 40)
  # A data set of others may have one without any area.
  for edges in ([1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]):
    cut = box_shares.cut(image, np.array([edges], np.float32))
    assert cut.shape == (1, 1, 3)
