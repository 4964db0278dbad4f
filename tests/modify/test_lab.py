"""8-bit Lab against OpenCV, on every colour."""

import cv2
import jax
import numpy as np
from numpy.testing import assert_array_equal

from protojax.modify import lab


def all_colours():
  """The 2^24 triples of bytes, a sixteenth at a time."""
  for start in range(0, 2**24, 2**20):
    code = np.arange(start, start + 2**20, dtype=np.uint32)
    triples = np.stack([code >> 16, code >> 8, code], axis=-1)
    yield triples.astype(np.uint8).reshape(1024, 1024, 3)


def test_to_lab_equals_opencv():
  to_lab = jax.jit(lab.rgb_to_lab)
  for colours in all_colours():
    expected = cv2.cvtColor(colours, cv2.COLOR_LRGB2Lab)
    assert_array_equal(to_lab(colours[None])[0], expected)


def test_to_rgb_equals_opencv_within_and_without_the_gamut():
  to_rgb = jax.jit(lab.lab_to_rgb)
  for triples in all_colours():
    expected = cv2.cvtColor(triples, cv2.COLOR_Lab2LRGB)
    assert_array_equal(to_rgb(triples[None])[0], expected)
