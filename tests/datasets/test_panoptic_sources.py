"""Images with segments: COCO-panoptic's files, and scenes of digits."""

import json

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.datasets import digit_scenes, panoptic_folder
from protojax.types import UserError

_DATA = {"train": "train:8", "test": "test:8", "root": ""}


def _content():
  return {
    "categories": [
      {"id": 7, "name": "sky", "isthing": 0},
      {"id": 3, "name": "car", "isthing": 1, "color": [1, 2, 3]},
    ],
    "images": [{"id": 5, "file_name": "a.jpg", "width": 6}],
    "annotations": [
      {
        "image_id": 5,
        "file_name": "a.png",
        "segments_info": [
          {"id": 300, "category_id": 3, "iscrowd": 0},
          {"id": 2, "category_id": 7, "area": 4},
          {"id": 70000, "category_id": 3, "iscrowd": 1},
        ],
      }
    ],
  }


def _write(root, content, plane):
  for folder in ("images", "panoptic"):
    (root / "train" / folder).mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
  image.save(root / "train/images/a.jpg")
  colours = np.stack([plane % 256, plane // 256 % 256, plane // 65536], -1)
  png = Image.fromarray(colours.astype(np.uint8))
  png.save(root / "train/panoptic/a.png")
  (root / "train/panoptic.json").write_text(json.dumps(content))
  return ConfigDict({"root": str(root), "train": "train", "test": "test"})


def _plane():
  plane = np.zeros((4, 6), int)
  plane[0], plane[1, :3], plane[2] = 300, 2, 70000
  return plane


def test_numbers_of_a_png_become_masks_with_classes(tmp_path):
  data = _write(tmp_path, _content(), _plane())
  source = panoptic_folder.load(data, "train", 0)
  assert source.class_names == ("car", "sky")
  assert source.things == (True, False)
  example = source[0]
  assert example["segments"]["classes"].tolist() == [0, 1]
  for mask, number in zip(example["segments"]["masks"], (300, 2), strict=True):
    assert_array_equal(mask, _plane() == number)
  assert_array_equal(example["crowd"], np.where(_plane() == 70000, 0, 255))
  assert source.fields["segments"].most == 3
  with pytest.raises(UserError, match=r"none of test/panoptic\.json beside"):
    panoptic_folder.load(data, "test", 0)


def _twice(content):
  content["categories"][0]["name"] = "car"


def _unknown(content):
  content["annotations"][0]["segments_info"][0]["category_id"] = 4


def _void(content):
  content["annotations"][0]["segments_info"][0]["id"] = 0


def _unlisted(content):
  del content["annotations"][0]["segments_info"][0]


def _stranger(content):
  content["annotations"][0]["image_id"] = 6


def _nameless(content):
  del content["categories"][0]["name"]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (_twice, "two categories have the name 'car': give each"),
    (_unknown, "the category 4, which is not among"),
    (_void, "the number 0; expected 1 to 16,777,215"),
    (_unlisted, r"a\.png: it shows the segment 300, which the JSON does not"),
    (_stranger, "is of the image 6, which is not among"),
    (_nameless, r"has no key 'name' at categories\[0\]"),
  ],
)
def test_files_that_cannot_be_are_refused(tmp_path, change, message):
  content = _content()
  change(content)
  data = _write(tmp_path, content, _plane())
  with pytest.raises(UserError, match=message):
    panoptic_folder.load(data, "train", 0)


def test_a_png_of_another_size_is_refused(tmp_path):
  data = _write(tmp_path, _content(), _plane()[:3])
  with pytest.raises(UserError, match="3 x 6 pixels and its image 4 x 6"):
    panoptic_folder.load(data, "train", 0)


@pytest.mark.parametrize("things", [10, 1])
def test_scenes_are_of_whole_segments(things):
  data = ConfigDict({**_DATA, "alike": things == 1})
  train = digit_scenes.load(data, "train", 0)
  test = digit_scenes.load(data, "test", 0)
  assert train.things == (True,) * things + (False,) * 3
  assert len(train.class_names) == things + 3
  assert not set(train.scans.numbers) & set(test.scans.numbers)
  for source in (train, test):
    for i in range(len(source)):
      example = source[i]
      masks = example["segments"]["masks"]
      classes = example["segments"]["classes"]
      # Every pixel is of one segment, and has its class.
      assert_array_equal(masks.sum(axis=0), 1)
      assert masks.any((1, 2)).all()
      assert_array_equal(classes[masks.argmax(axis=0)], example["mask"])
      stuff = classes[classes >= things]
      assert len(set(stuff)) == len(stuff)
  assert_array_equal(train[0]["image"], train[0]["image"])
  with pytest.raises(UserError, match="how many scenes, as in train:600"):
    digit_scenes.load(ConfigDict({**_DATA, "train": "train"}), "train", 0)
