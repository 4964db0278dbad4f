"""`prepare segmentation`: one plain folder of any layout."""

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.datasets import mask_folder, segmentation
from protojax.types import UserError

VOID = 255


def _save(path, values):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _prepared(source, output):
  counted = []
  found = segmentation.prepare(
    str(source), str(output), counted.append, lambda: counted.append(1)
  )
  assert sum(counted[1:]) == counted[0] == sum(found.counts.values())
  config = ConfigDict({"root": str(output), "train": "train", "test": "test"})
  config.update(masks="masks", classes=(), void=VOID, test_fraction=0.4)
  return [mask_folder.load(config, split, 0) for split in ("train", "test")]


def test_colours_become_numbers_and_images_stay(tmp_path):
  home = tmp_path / "source"
  colours = np.array([[1, 2, 3], [4, 5, 6], [0, 0, 0]])
  numbers = np.arange(12).reshape(3, 4) % 3
  for split in ("train", "test"):
    _save(home / split / "images" / "a.jpg", np.full((3, 4, 3), 90))
    _save(home / split / "masks" / "a.png", colours[numbers])
  _save(home / "test" / "parts" / "a.png", numbers)
  (home / "classes.txt").write_text("road 1 2 3\nside walk 4 5 6\nvoid 0 0 0\n")
  train, test = _prepared(home, tmp_path / "out")
  assert train.class_names == ("road", "side walk")
  assert_array_equal(train[0]["mask"], np.array([0, 1, VOID])[numbers])
  copied = tmp_path / "out/train/images/000000-a.jpg"
  original = home / "train/images/a.jpg"
  assert copied.read_bytes() == original.read_bytes()
  assert train.part_plane(0) is None
  assert_array_equal(test.part_plane(0), numbers)
  with pytest.raises(UserError, match="holds something already: empty it"):
    _prepared(home, tmp_path / "out")
  with pytest.raises(UserError, match=r"--source=.*gone is no folder"):
    _prepared(tmp_path / "gone", tmp_path / "other")


def test_frames_of_cityscapes_become_squares(tmp_path):
  home = tmp_path / "source"
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 255, (4, 8, 3))
  labels = np.repeat([[0, 7, 8, 11, 33, 26, 14, 24]], 4, axis=0)
  for split in ("train", "val"):
    _save(home / f"leftImg8bit/{split}/ulm/ulm_0_leftImg8bit.png", pixels)
    _save(home / f"gtFine/{split}/ulm/ulm_0_gtFine_labelIds.png", labels)
  train, test = _prepared(home, tmp_path / "out")
  assert (len(train), len(test)) == (2, 2)
  assert len(train.class_names) == 19
  assert_array_equal(train[1]["image"], pixels[:, 4:])
  assert_array_equal(test[1]["mask"][0], [18, 13, VOID, 11])
