"""Frames of which some have masks: MOSXAV's layout, and plain folders."""

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.datasets import frames_folder, mosxav
from protojax.types import UserError


def _save(path, values):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _mosxav(root):
  """Two training sequences of six frames, and a test sequence of two."""
  rng = np.random.default_rng(0)
  for part, name, count in (
    ("trainval", "v00", 6),
    ("trainval", "v01", 6),
    ("test", "v02", 2),
  ):
    for i in range(count):
      frame = root / part / "JPEGImages" / name / f"{i:05d}.jpg"
      _save(frame, rng.integers(0, 255, (6, 8, 3)))
      if part == "test" or i % 5 == 0:
        mask = root / part / "Annotations_Semantic" / name / f"{i:05d}.png"
        _save(mask, rng.integers(0, 6 if part == "test" else 5, (6, 8)))
  for part, name, text in (
    ("trainval", "train", "v00\n"),
    ("trainval", "val", "v01\n"),
    ("test", "test", "v02\n"),
  ):
    path = root / part / "ImageSets" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  return ConfigDict({"root": str(root), "train": "train", "test": "test"})


def test_mosxav_is_split_by_sequence_and_every_fifth_frame_has_a_mask(tmp_path):
  data = _mosxav(tmp_path)
  train, test = (mosxav.load(data, split, 0) for split in ("train", "test"))
  assert len(train) == 6
  assert_array_equal(np.flatnonzero(train.labelled), [0, 5])
  assert_array_equal(train[1]["mask"], np.full((6, 8), 255))
  assert train[5]["mask"].max() < 5
  assert all(test.labelled)
  whole = np.asarray(
    Image.open(tmp_path / "test/Annotations_Semantic/v02/00001.png")
  )
  expected = np.where(whole == 5, 255, whole)
  assert_array_equal(test[1]["mask"], expected)
  data.train = "val"
  other = mosxav.load(data, "train", 0)
  assert "v01" in other.name(0)
  data.train = "all"
  with pytest.raises(UserError, match="MOSXAV has the lists train, val, test"):
    mosxav.load(data, "train", 0)


def test_what_mosxav_lacks_is_said(tmp_path):
  data = _mosxav(tmp_path)
  (tmp_path / "trainval/ImageSets/train.txt").write_text("v00\nv09\n")
  with pytest.raises(UserError, match="names the sequence 'v09', of which"):
    mosxav.load(data, "train", 0)
  (tmp_path / "trainval/ImageSets/train.txt").unlink()
  with pytest.raises(UserError, match=r"there is no .*train.txt: set .*root"):
    mosxav.load(data, "train", 0)


def _folder(root):
  rng = np.random.default_rng(1)
  for split, name in (
    ("train", "1_10"),
    ("train", "1_20"),
    ("train", "7_10"),
    ("test", "9_10"),
    ("test", "9_20"),
  ):
    _save(
      root / split / "images" / f"{name}.jpg", rng.integers(0, 9, (4, 4, 3))
    )
    if name.endswith("_10"):
      _save(root / split / "masks" / f"{name}.png", rng.integers(0, 2, (4, 4)))
  (root / "classes.txt").write_text("tissue\ntool\n")
  return ConfigDict(
    {
      "root": str(root),
      "train": "train",
      "test": "test",
      "masks": "masks",
      "classes": (),
      "void": 255,
    }
  )


def test_a_sequence_is_a_folder_or_what_a_name_begins_with(tmp_path):
  data = _folder(tmp_path)
  train = frames_folder.load(data, "train", 0)
  assert train.class_names == ("tissue", "tool")
  assert_array_equal(train.groups, [0, 0, 1])
  assert_array_equal(train.labelled, [True, False, True])
  assert len(frames_folder.load(data, "test", 0)) == 1
  _save(tmp_path / "train/images/own/1_30.jpg", np.zeros((4, 4, 3)))
  assert_array_equal(frames_folder.load(data, "train", 0).groups, [0, 0, 1, 2])


def test_faulty_frames_are_refused(tmp_path):
  data = _folder(tmp_path)
  _save(tmp_path / "train/masks/1_20.png", np.zeros((4, 5)))
  with pytest.raises(UserError, match=r"1_20.png.*it has 4 x 5 pixels and its"):
    frames_folder.load(data, "train", 0)
  _save(tmp_path / "train/masks/1_20.png", np.full((4, 4), 7))
  with pytest.raises(UserError, match=r"1_20.png.*values 7, and there are 2"):
    frames_folder.load(data, "train", 0)
  for mask in (tmp_path / "train/masks").iterdir():
    mask.unlink()
  with pytest.raises(UserError, match=r"none of the 3 frames in .* has a mask"):
    frames_folder.load(data, "train", 0)
  data.classes, data.train = ("a", "b"), "training"
  with pytest.raises(UserError, match="has no folder training/images: name"):
    frames_folder.load(data, "train", 0)
