"""Boxes as masks of pixels, and sources that have none."""

import numpy as np
from numpy.testing import assert_array_equal

from protojax.data import objects
from protojax.data.places import Places
from tests.conftest import ArraySource


class _Boxes(ArraySource):
  """Two images: one with two boxes, which overlap, and one with none."""

  found = (
    Places(np.array([0, 1]), np.array([[0, 0, 0.5, 0.5], [0.25, 0, 1, 0.25]])),
    Places(np.zeros(0, int), np.zeros((0, 4))),
  )

  def places(self, i):
    return self.found[i]

  def parts(self, i):
    del i
    return np.array([[0.5, 0.25, 1.0]])


def test_masks_are_the_union_of_the_boxes():
  found = objects.masks(_Boxes(), [1, 0], 4)
  wanted = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
  assert_array_equal(found, [np.zeros((4, 4)), wanted])
  # A box of 0.6 pixels covers the middle of the first of two pixels.
  source = _Boxes()
  source.found = (Places(np.array([0]), np.array([[0, 0, 0.3, 0.3]])),)
  assert_array_equal(objects.masks(source, [0], 2), [[[1, 0], [0, 0]]])


def test_what_a_source_does_not_know_is_none():
  for source in (ArraySource(), _Unknown()):
    assert objects.masks(source, [0], 4) is None
    assert objects.parts(source, [0]) is None


class _Unknown(ArraySource):
  """Could know, but does not."""

  def places(self, i):
    del i

  def parts(self, i):
    del i


def test_parts_of_several_images():
  assert_array_equal(objects.parts(_Boxes(), [0, 1]), [[[0.5, 0.25, 1]]] * 2)
