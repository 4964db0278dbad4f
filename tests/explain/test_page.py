"""What the pages of all reports are put together from."""

import base64
import io

import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.explain import page
from protojax.explain.evidence import Box


def test_bars_start_at_zero_and_end_at_the_score():
  scale = page.score_range([{"hue": 3.0, "shape": -1.0, "identity": 99.0}])
  assert scale == (-1.0, 3.0)
  assert page.bar(3.0, scale) == "left:25.00%;width:75.00%"
  assert page.bar(-1.0, scale) == "left:0.00%;width:25.00%"
  assert page.bar(float("nan"), scale) == "width:0"


def test_a_bar_that_nothing_is_known_of():
  assert page.score_range([{"hue": float("nan"), "identity": 3.0}]) == (0, 1e-6)


def test_a_picture_survives_its_address():
  ramp = np.linspace(0, 255, 64).astype(np.uint8)
  picture = np.repeat(np.tile(ramp, (64, 1))[..., None], 3, axis=2)
  address = page.uri(picture)
  assert address.startswith("data:image/jpeg;base64,")
  data = base64.b64decode(address.partition(",")[2])
  found = np.asarray(Image.open(io.BytesIO(data)), int)
  assert np.abs(found - picture).max() < 8


@pytest.mark.parametrize(
  ("box", "at_least", "extent", "corner"),
  [
    (Box(8, 8, 16, 16), 1, 8, (8, 8)),
    (Box(8, 8, 16, 12), 1, 8, (8, 6)),
    (Box(8, 8, 10, 10), 8, 8, (5, 5)),
    (Box(0, 28, 2, 32), 8, 8, (0, 24)),
    (Box(0, 0, 32, 4), 1, 32, (0, 0)),
    (Box(1, 1, 2, 2), 99, 32, (0, 0)),
  ],
)
def test_a_cut_is_a_square_around_the_box(box, at_least, extent, corner):
  picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
  top, left = corner
  assert_array_equal(
    page.cut(picture, box, extent, at_least),
    picture[top : top + extent, left : left + extent],
  )
  assert page.cut(picture, box, 20, at_least).shape == (20, 20, 3)
