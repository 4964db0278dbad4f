"""Prototypes that start as patches are patches, of their class, and differ."""

import numpy as np

from protojax.prototypes.start import random_patches
from protojax.types import State


class _Stream:
  """Maps for images, so that every patch is known; padded at the end."""

  def __init__(self, maps, labels, batch_size=4):
    self.maps, self.labels, self.size = maps, labels, batch_size

  def batches(self):
    for start in range(0, len(self.maps), self.size):
      index = np.arange(start, start + self.size)
      mask = index < len(self.maps)
      index = np.where(mask, index, 0)
      yield {"image": self.maps[index], "index": index, "mask": mask}


def _rows(state, batch):
  return batch["image"]


def _start(seed=0, height=1, width=1):
  rng = np.random.default_rng(0)
  maps = rng.normal(size=(10, 4, 5, 3)).astype(np.float32)
  labels = np.array([0, 1] * 5, np.int32)
  class_of = np.repeat([0, 1, 2], 4)
  before = np.full((12, height, width, 3), 7, np.float32)
  state = State(
    params={"prototypes": {"prototypes": before}},
    statistics={},
    buffers={"class_of": class_of},
  )
  found = random_patches(_rows, state, _Stream(maps, labels), seed)
  return maps, labels, class_of, found


def _sources(maps, patch):
  """Images and places where a patch stands."""
  height, width, _ = patch.shape
  return [
    (i, y, x)
    for i in range(len(maps))
    for y in range(maps.shape[1] - height + 1)
    for x in range(maps.shape[2] - width + 1)
    if np.array_equal(maps[i, y : y + height, x : x + width], patch)
  ]


def test_each_is_a_patch_of_another_image_of_its_class():
  for height, width in ((1, 1), (2, 3)):
    maps, labels, class_of, found = _start(0, height, width)
    taken = []
    for k, patch in zip(class_of[:8], found[:8], strict=True):
      ((image, _, _),) = _sources(maps, patch)
      assert labels[image] == k
      taken.append(image)
    assert len(set(taken)) == 8


def test_a_class_without_images_keeps_its_start():
  *_, found = _start()
  np.testing.assert_array_equal(found[8:], 7)


def test_the_seed_decides():
  one, again, other = _start(1)[3], _start(1)[3], _start(2)[3]
  np.testing.assert_array_equal(one, again)
  assert np.any(one != other)
