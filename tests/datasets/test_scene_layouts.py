"""Layouts of Cityscapes, VOC 2012 and ADE20K, in small."""

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.data import splits
from protojax.datasets import ade20k, cityscapes, coco_stuff, voc2012
from protojax.types import UserError

VOID = 255


def _save(path, values):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _data(root, train, test):
  return ConfigDict({"root": str(root), "train": train, "test": test})


def test_a_frame_of_cityscapes_is_two_squares(tmp_path):
  rng = np.random.default_rng(0)
  for split, count in (("train", 2), ("val", 1)):
    for i in range(count):
      name = f"{split}/ulm/ulm_{i}"
      pixels = rng.integers(0, 255, (4, 8, 3))
      _save(tmp_path / f"leftImg8bit/{name}_leftImg8bit.png", pixels)
      labels = np.repeat([[0, 7, 8, 11, 33, 26, 14, 24]], 4, axis=0)
      _save(tmp_path / f"gtFine/{name}_gtFine_labelIds.png", labels)
  data = _data(tmp_path, "train", "val")
  source = cityscapes.load(data, "train", 0)
  assert len(source) == 4
  assert len(source.class_names) == 19
  assert source.name(1) == "leftImg8bit/train/ulm/ulm_0_leftImg8bit.png right"
  assert source[0]["image"].shape == (4, 4, 3)
  assert_array_equal(source[0]["mask"][0], [VOID, 0, 1, 2])
  assert_array_equal(source[1]["mask"][0], [18, 13, VOID, 11])
  train, held = splits.divided(source, 0.5, seed=0)
  assert {i // 2 for i in train.rows}.isdisjoint(i // 2 for i in held.rows)
  with pytest.raises(UserError, match="has no leftImg8bit/test: unpack"):
    cityscapes.load(_data(tmp_path, "test", "val"), "train", 0)


def test_lists_of_voc_choose_images_and_masks(tmp_path):
  home = tmp_path / "VOCdevkit" / "VOC2012"
  for i in range(3):
    _save(home / f"JPEGImages/{i}.jpg", np.full((5, 5, 3), 9))
    _save(home / f"SegmentationClass/{i}.png", np.full((5, 5), 20))
    _save(home / f"SegmentationClassAug/{i}.png", np.full((5, 5), VOID))
  lists = home / "ImageSets" / "Segmentation"
  lists.mkdir(parents=True)
  (lists / "train.txt").write_text("0\n2\n")
  aug = "/JPEGImages/1.jpg /SegmentationClassAug/1.png\n"
  (lists / "train_aug.txt").write_text(aug)
  data = _data(tmp_path, "train", "train_aug")
  source = voc2012.load(data, "train", 0)
  assert [source.name(i) for i in range(2)] == [
    "JPEGImages/0.jpg",
    "JPEGImages/2.jpg",
  ]
  assert source.class_names[20] == "tvmonitor"
  assert (source[0]["mask"] == 20).all()
  assert (voc2012.load(data, "test", 0)[0]["mask"] == VOID).all()
  with pytest.raises(UserError, match=r"train='val': there is no .*val\.txt"):
    voc2012.load(_data(tmp_path, "val", "train"), "train", 0)


def test_nothing_is_class_0_in_ade20k(tmp_path):
  home = tmp_path / "ADEChallengeData2016"
  for split in ("training", "validation"):
    _save(home / f"images/{split}/a.jpg", np.full((5, 6, 3), 9))
    _save(home / f"annotations/{split}/a.png", np.arange(30).reshape(5, 6) % 4)
  names = "\n".join(
    f"{i}\t0.1\t1\t1\t0\t{name}"
    for i, name in enumerate(("wall", "door, wide", "door, narrow"), 1)
  )
  (home / "objectInfo150.txt").write_text(
    f"Idx\tRatio\tTrain\tVal\tStuff\tName\n{names}\n"
  )
  source = ade20k.load(_data(tmp_path, "training", "validation"), "test", 0)
  assert source.class_names == ("wall", "door, wide", "door, narrow")
  assert_array_equal(source[0]["mask"][0, :4], [VOID, 0, 1, 2])


@pytest.mark.parametrize("images", ["", "images/"])
def test_masks_of_coco_stuff_hold_the_number_less_1(tmp_path, images):
  _save(tmp_path / f"{images}val2017/a.jpg", np.full((2, 3, 3), 9))
  masks = tmp_path / "stuffthingmaps_trainval2017" / "val2017"
  _save(masks / "a.png", [[0, 1, 2], [VOID, 2, 0]])
  data = _data(tmp_path, "train2017", "val2017")
  with pytest.raises(UserError, match=r"no .*labels\.txt: it comes with"):
    coco_stuff.load(data, "test", 0)
  names = tmp_path / "labels.txt"
  names.write_text("0: unlabeled\n1: person\n2: sky-other\n3: wood\n")
  source = coco_stuff.load(data, "test", 0)
  assert source.class_names == ("person", "sky-other", "wood")
  assert_array_equal(source[0]["mask"], [[0, 1, 2], [VOID, 2, 0]])
  names.write_text("1: person\n")
  with pytest.raises(UserError, match="expected the lines 0: unlabeled, 1"):
    coco_stuff.load(data, "test", 0)
  with pytest.raises(UserError, match="has none of train2017, images/train2"):
    coco_stuff.load(data, "train", 0)
