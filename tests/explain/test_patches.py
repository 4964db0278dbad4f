"""Boxes of patches in pixels of the images they were cut from."""

import pytest

from protojax.explain import patches
from protojax.types import Box


@pytest.mark.parametrize(
  ("box", "whole", "expected"),
  [
    (Box(0, 0, 32, 32), (300, 200, 3), Box(0, 0, 300, 200)),
    (Box(8, 16, 24, 32), (64, 96, 3), Box(16, 48, 48, 96)),
    (Box(1, 1, 2, 2), (33, 31, 3), Box(1, 0, 3, 2)),  # all of the pixels
    (Box(31, 31, 32, 32), (16, 1, 3), Box(15, 0, 16, 1)),
  ],
)
def test_boxes_of_the_original(box, whole, expected):
  assert patches.unsquashed(box, (32, 32, 3), whole) == expected
