"""Boxes as masks of pixels, and sources that have none."""

import numpy as np
from numpy.testing import assert_array_equal

from protojax.data import objects
from protojax.data import stream as stream_lib
from protojax.data.places import Places
from protojax.data.resizing import SQUASH, Resizing
from protojax.types import Box
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


def stream(source, size=4, resizing=SQUASH):
  return stream_lib.ordered(source, size, 2, resizing=resizing)


def test_masks_are_the_union_of_the_boxes():
  found = objects.masks(stream(_Boxes()), [1, 0])
  wanted = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
  assert_array_equal(found, [np.zeros((4, 4)), wanted])
  # A box of 0.6 pixels covers the middle of the first of two pixels.
  source = _Boxes()
  source.found = (Places(np.array([0]), np.array([[0, 0, 0.3, 0.3]])),)
  assert_array_equal(objects.masks(stream(source, 2), [0]), [[[1, 0], [0, 0]]])


def test_what_a_source_does_not_know_is_none():
  for source in (ArraySource(), _Unknown()):
    assert objects.masks(stream(source), [0]) is None
    assert objects.parts(stream(source), [0]) is None


class _Unknown(ArraySource):
  """Could know, but does not."""

  def places(self, i):
    del i

  def parts(self, i):
    del i


def test_parts_of_several_images():
  assert_array_equal(
    objects.parts(stream(_Boxes()), [0, 1]), [[[0.5, 0.25, 1]]] * 2
  )


def test_masks_and_parts_of_what_is_cut_out():
  """Resized to 8 x 8, of which the middle 4 x 4 are seen."""
  cut = stream(_Boxes(), 4, Resizing("squash", 8))
  wanted = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
  assert_array_equal(objects.masks(cut, [0]), [wanted])
  # The part, at 4 and 2 pixels, is at the left edge of what is seen.
  assert_array_equal(objects.parts(cut, [0]), [[[0.5, 0, 1]]])


class _Wide(ArraySource):
  """An image of 20 x 40 pixels, whose left half is the object."""

  def __init__(self):
    super().__init__(1, 40)
    self.images = self.images[:, :20]

  def places(self, i):
    return Places(np.zeros(1, int), np.array([[0, 0, 1, 0.5]]))


def test_masks_at_the_size_of_the_image():
  """Of all of it, or of the middle square of 20 x 20 that the network sees."""
  for resizing, columns in (SQUASH, 40), (Resizing("aspect"), 20):
    seen = stream_lib.ordered(_Wide(), 16, 1, resizing=resizing)
    mask = objects.own_mask(seen, 0)
    expected = np.arange(columns) < columns / 2
    assert_array_equal(mask, np.tile(expected, (20, 1)))
  unknown = stream_lib.ordered(ArraySource(1, 16), 16, 1)
  assert objects.own_mask(unknown, 0) is None


def test_the_share_of_a_box_on_the_object():
  mask = np.zeros((8, 8), bool)
  assert objects.share(mask, Box(0, 0, 4, 4)) is None
  mask[2:, 2:] = True
  assert objects.share(mask, Box(0, 0, 4, 4)) == 0.25
