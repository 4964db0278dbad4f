"""Masks of parts: of a plain folder, and of Panoptic-Parts."""

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.data import objects, stream
from protojax.datasets import cityscapes, mask_folder, part_masks, voc2012
from protojax.types import UserError

_RNG = np.random.default_rng(0)


def _save(path, pixels):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)


def _config(root, **keys):
  return ConfigDict(
    {
      "root": str(root),
      "train": "train",
      "test": "test",
      "masks": "masks",
      "classes": ("a", "b"),
      "void": 255,
      "test_fraction": 0.5,
      **keys,
    }
  )


@pytest.mark.parametrize(
  ("images", "masks", "parts"),
  [
    ("test/images", "test/masks", "test/parts"),
    ("images/test", "masks/test", "parts/test"),
    ("test", "testmasks", "testparts"),
  ],
)
def test_parts_lie_beside_masks(tmp_path, images, masks, parts):
  plane = _RNG.integers(0, 4, (6, 8)).astype(np.uint8)
  for name in "ab":
    _save(tmp_path / images / f"{name}.jpg", np.zeros((6, 8, 3), np.uint8))
    _save(tmp_path / masks / f"{name}.png", np.zeros((6, 8), np.uint8))
  _save(tmp_path / parts / "a.png", plane)
  source = mask_folder.load(_config(tmp_path), "test", 0)
  assert_array_equal(source.part_plane(0), plane)
  assert source.part_plane(1) is None
  ordered = stream.ordered(source, 3, 2, cache_bytes=0)
  # The middle pixels of two rows and two or three columns.
  found = objects.part_planes(ordered, [0])
  assert_array_equal(found[0], plane[1::2][:, [1, 4, 6]])
  assert objects.part_planes(ordered, [0, 1]) is None


def test_panoptic_parts_hold_class_object_and_part(tmp_path):
  """A frame of Cityscapes: its halves have halves of the parts."""
  numbers = np.array([[7, 24, 24_003, 2_400_304], [26_001, 2_600_105, 0, 0]])
  stem = "val/x/x_000_019"
  _save(
    tmp_path / f"leftImg8bit/{stem}_leftImg8bit.png",
    np.zeros((2, 4, 3), np.uint8),
  )
  mask = np.full((2, 4), 24, np.uint8)
  _save(tmp_path / f"gtFine/{stem}_gtFine_labelIds.png", mask)
  path = tmp_path / f"gtFinePanopticParts/{stem}_gtFinePanopticParts.tif"
  _save(path, numbers.astype(np.int32))
  source = cityscapes.load(_config(tmp_path, test="val"), "test", 0)
  assert_array_equal(source.part_plane(0), [[0, 0], [0, 5]])
  assert_array_equal(source.part_plane(1), [[0, 4], [0, 0]])


def test_pascals_parts_are_found_by_the_name_of_their_image(tmp_path):
  """In the folder of whichever split; an image without them has none."""
  home = tmp_path / "VOC2012"
  lists = home / "ImageSets" / "Segmentation"
  lists.mkdir(parents=True)
  (lists / "val.txt").write_text("a\nb\n")
  for name in "ab":
    _save(home / f"JPEGImages/{name}.jpg", np.zeros((2, 3, 3), np.uint8))
    mask = np.full((2, 3), 15, np.uint8)
    _save(home / f"SegmentationClass/{name}.png", mask)
  numbers = np.array([[15, 1_501, 1_500_102], [0, 1_500_203, 1_500_100]])
  labels = home / "pascal_panoptic_parts_v2.0" / "labels"
  _save(labels / "validation" / "b.tif", numbers.astype(np.int32))
  _save(labels / "training" / "c.tif", numbers.astype(np.int32))
  source = voc2012.load(_config(tmp_path, test="val"), "test", 0)
  assert source.part_plane(0) is None
  assert_array_equal(source.part_plane(1), [[0, 0, 2], [0, 3, 0]])


def test_parts_of_another_size_or_in_colours_are_refused(tmp_path):
  _save(tmp_path / "a.png", np.zeros((6, 8), np.uint8))
  with pytest.raises(UserError, match="6 x 8 pixels and their image 6 x 9"):
    part_masks.read(str(tmp_path / "a.png"), (6, 9, 3))
  _save(tmp_path / "b.png", np.zeros((6, 8, 3), np.uint8))
  with pytest.raises(UserError, match="have colours; save the number"):
    part_masks.read(str(tmp_path / "b.png"), (6, 8))
  (tmp_path / "c.png").write_text("no picture")
  with pytest.raises(UserError, match="are no image that Pillow can read"):
    part_masks.read(str(tmp_path / "c.png"), (6, 8))
