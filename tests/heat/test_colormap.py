"""Heat maps against OpenCV's JET."""

import cv2
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from protojax.heat import colormap


def test_heat_is_opencvs_jet_within_a_level():
  ramp = np.arange(256, dtype=np.float32).reshape(1, 16, 16)
  expected = cv2.applyColorMap(ramp[0].astype(np.uint8), cv2.COLORMAP_JET)
  got = colormap.heat(ramp)[0].astype(int)
  assert_allclose(got, expected[..., ::-1], atol=1)
  assert (got != expected[..., ::-1]).sum() <= 1


def test_every_map_fills_the_scale():
  maps = np.array([[[-3.0, 5.0]], [[0.1, 0.2]]])
  heat = colormap.heat(maps)
  assert_array_equal(heat[0], heat[1])
  assert_array_equal(heat[0, 0], [[0, 0, 128], [128, 0, 0]])


def test_a_constant_map_is_the_lowest_colour():
  heat = colormap.heat(np.full((1, 2, 3), 7.0))
  assert_array_equal(heat, np.broadcast_to([0, 0, 128], (1, 2, 3, 3)))


def test_overlay_is_half_image_and_three_tenths_heat():
  images = np.full((1, 1, 2, 3), 200, np.uint8)
  overlay = colormap.overlay(images, np.array([[[0.0, 1.0]]]))
  assert_array_equal(overlay[0, 0], [[100, 100, 138], [138, 100, 100]])
