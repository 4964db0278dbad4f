"""Layouts of images with several labels, and what is wrong with them."""

import json

import numpy as np
from PIL import Image
import pytest

from protojax.data import fields, stream
from protojax.datasets import (
  coco,
  digit_canvases,
  nus_wide,
  stand_in,
  tagged_folder,
  voc2007,
)
from protojax.types import UserError


class Data(dict):
  __getattr__ = dict.__getitem__


def picture(path, size=(20, 10)):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, (200, 30, 30)).save(path)


def data(root, train="train", test="test"):
  return Data(root=str(root), train=train, test=test, test_fraction=0.4)


def table(root, *lines, name="labels.csv"):
  (root / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
  """Five images with two labels; b/5.png is not listed."""
  for n in range(1, 5):
    picture(tmp_path / f"a/{n}.png")
  picture(tmp_path / "b/5.png")
  table(
    tmp_path,
    "image,dog,traffic light",
    *("a/1.png,1,0", "a/2.png,0,1", "a/3.png,1,-1", "a/4.png,0,"),
  )
  return tmp_path


def test_a_folder_is_divided_by_a_seed(folder, caplog):
  train = tagged_folder.load(data(folder), "train", 0)
  test = tagged_folder.load(data(folder), "test", 0)
  assert train.class_names == ("dog", "traffic light")
  assert len(train) + len(test) == 4
  assert not {r.file for r in train.rows} & {r.file for r in test.rows}
  found = {r.file: tuple(r.tags) for s in (train, test) for r in s.rows}
  assert found["a/3.png"] == (1, -1)
  assert found["a/4.png"] == (0, -1)
  assert set(fields.of(train)) == {"image", "labels"}
  batch = next(stream.ordered(train, 8, 2).batches())
  assert batch["labels"].shape == (2, 2)
  assert "1 images in" in caplog.text
  assert "b/5.png" in caplog.text
  assert "have none of the labels" in caplog.text


def test_a_folder_may_say_its_splits(folder):
  table(
    folder,
    "image,split,dog",
    *("a/1.png,train,1", "a/2.png,test,0", "a/3.png,train,0"),
  )
  assert len(tagged_folder.load(data(folder), "train", 0)) == 2
  (folder / "labels.csv").unlink()
  table(folder, "image,dog,cat", "a/1.png,1,0", name="train.csv")
  table(folder, "image,cat,dog", "a/2.png,1,0", name="test.csv")
  test = tagged_folder.load(data(folder), "test", 0)
  assert test.class_names == ("dog", "cat")
  np.testing.assert_array_equal(test.tags, [[0, 1]])
  table(folder, "image,dog,bird", "a/2.png,1,0", name="test.csv")
  message = r"only train.csv has cat; only test.csv has bird"
  with pytest.raises(UserError, match=message):
    tagged_folder.load(data(folder), "train", 0)


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    (["file,dog", "a/1.png,1"], "begins with the column 'file'; expected"),
    (["image", "a/1.png"], "has no column of a label behind 'image'"),
    (["image,dog", "a/1.png,yes"], "line 2: dog is 'yes'; expected 1, 0"),
    (["image,dog"], "lists no image"),
    (["image,dog", "a/1.png,1"], "lists a single image"),
    (["image,dog", "x.png,1", "y.png,0"], "none of the 1 images that are"),
    (["image,dog"] + ["a/1.png,1", "a/2.png,1"] * 2, "are listed twice, such"),
    (["image,split,dog", "a/1.png,dev,1"], "says 'dev'; expected train or"),
    (["image,dog,dog", "a/1.png,1,1"], "has the column 'dog' twice"),
  ],
)
def test_bad_tables_are_refused_in_a_line(folder, lines, message):
  table(folder, *lines)
  with pytest.raises(UserError, match=message):
    tagged_folder.load(data(folder), "train", 0)


def test_images_that_cannot_be_used_are_named_and_skipped(folder):
  (folder / "a/2.png").write_bytes(b"no image")
  table(
    folder,
    "image,split,dog",
    *("a/1.png,train,1", "a/2.png,train,1", "gone.png,train,1"),
    *("a/3.png,train,-1", "a/4.png,test,1"),
  )
  found = tagged_folder.load(data(folder), "train", 0)
  assert [row.file for row in found.rows] == ["a/1.png"]
  skipped = dict(found.skipped)
  assert set(skipped) == {"a/2.png", "gone.png", "a/3.png"}
  assert skipped["gone.png"] == "it is listed and is not there"
  assert skipped["a/3.png"] == "no label of it is known"


def test_a_folder_without_a_table_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"has no labels.csv, nor train.csv and"):
    tagged_folder.load(data(tmp_path), "train", 0)
  with pytest.raises(UserError, match="is no folder"):
    tagged_folder.load(data(tmp_path / "none"), "train", 0)


def test_coco_is_read_from_its_own_files(tmp_path):
  picture(tmp_path / "val2014/1.jpg")
  picture(tmp_path / "val2014/2.jpg")
  content = {
    "categories": [{"id": 44, "name": "bottle"}, {"id": 1, "name": "person"}],
    "images": [
      {"id": 7, "file_name": "1.jpg", "width": 20, "height": 10},
      {"id": 8, "file_name": "2.jpg", "width": 20, "height": 10},
    ],
    "annotations": [
      {"image_id": 7, "category_id": 44, "bbox": [5, 0, 10, 5]},
      {"image_id": 7, "category_id": 44, "bbox": [0, 5, 0, 5]},
    ],
  }
  path = tmp_path / "annotations/instances_val2014.json"
  path.parent.mkdir()
  path.write_text(json.dumps(content))
  found = coco.load(data(tmp_path, test="val2014"), "test", 0)
  assert found.class_names == ("person", "bottle")
  np.testing.assert_array_equal(found.tags, [[0, 1], [0, 0]])
  boxes = found[0]["boxes"]
  np.testing.assert_allclose(boxes["boxes"], [[0, 0.25, 0.5, 0.75]])
  assert boxes["classes"].tolist() == [1]
  assert found[1]["boxes"]["boxes"].shape == (0, 4)
  with pytest.raises(UserError, match="there are train2014, val2014"):
    coco.load(data(tmp_path), "test", 0)
  path.write_text('{"categories": [{"id": 1}], "images": 3}')
  with pytest.raises(UserError, match="is no list of instances of MS-COCO"):
    coco.load(data(tmp_path, test="val2014"), "test", 0)


def voc(root):
  home = root / "VOCdevkit/VOC2007"
  picture(home / "JPEGImages/000001.jpg")
  lists = home / "ImageSets/Main"
  lists.mkdir(parents=True)
  numbers = {"dog": " 1", "cat": " 0"}
  for label in voc2007.CLASS_NAMES:
    number = numbers.get(label, "-1")
    (lists / f"{label}_test.txt").write_text(f"000001 {number}\n")
  (home / "Annotations").mkdir()
  xml = home / "Annotations/000001.xml"
  xml.write_text(
    "<annotation><size><width>20</width><height>10</height></size><object>"
    "<name>dog</name><bndbox><xmin>2</xmin><ymin>1</ymin><xmax>12</xmax>"
    "<ymax>6</ymax></bndbox></object></annotation>"
  )
  return xml


def test_voc_is_read_from_its_own_files(tmp_path):
  xml = voc(tmp_path)
  found = voc2007.load(data(tmp_path), "test", 0)
  dog, cat = (voc2007.CLASS_NAMES.index(name) for name in ("dog", "cat"))
  assert found.tags[0, dog] == 1
  assert found.tags[0, cat] == -1
  assert (found.tags == 0).sum() == 18
  np.testing.assert_allclose(found[0]["boxes"]["boxes"], [[0.1, 0.1, 0.6, 0.6]])
  xml.write_text("<!DOCTYPE x><annotation/>")
  with pytest.raises(UserError, match="is no annotation of VOC"):
    voc2007.load(data(tmp_path), "test", 0)
  with pytest.raises(UserError, match="has no VOC2007/ImageSets/Main"):
    voc2007.load(data(tmp_path / "none"), "test", 0)


def test_nus_wide_is_read_from_its_own_files(tmp_path):
  picture(tmp_path / "Flickr/actor/0001_1.jpg")
  for path, text in (
    ("ImageList/TrainImagelist.txt", "actor\\0001_1.jpg\nsky\\0002_2.jpg\n"),
    ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "0\n1\n"),
    ("Groundtruth/TrainTestLabels/Labels_person_Train.txt", "1\n0\n"),
  ):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)
  found = nus_wide.load(data(tmp_path), "train", 0)
  assert found.class_names == ("person", "sky")
  np.testing.assert_array_equal(found.tags, [[1, 0]])
  assert dict(found.skipped) == {
    "Flickr/sky/0002_2.jpg": "it is listed and is not there"
  }
  labels = tmp_path / "Groundtruth/TrainTestLabels/Labels_sky_Train.txt"
  labels.write_text("0\n")
  with pytest.raises(UserError, match="expected 0 or 1 for each of 2 images"):
    nus_wide.load(data(tmp_path), "train", 0)


def test_canvases_show_their_labels_in_their_boxes():
  train = digit_canvases.load(data("", "train:20", "test:10"), "train", 0)
  test = digit_canvases.load(data("", "train:20", "test:10"), "test", 0)
  assert len(train), len(test) == (20, 10)
  for i in range(20):
    found = train[i]
    assert set(found["boxes"]["classes"]) == set(np.flatnonzero(train.tags[i]))
    boxes = found["boxes"]["boxes"]
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 8 / 36)
  np.testing.assert_array_equal(train[3]["image"], train[3]["image"])
  assert not np.array_equal(train[3]["image"], test[3]["image"])
  with pytest.raises(UserError, match="how many canvases, as in train:3000"):
    digit_canvases.load(data("", "train", "test:10"), "train", 0)


def test_images_that_are_not_there_have_several_labels_in_a_plan():
  config = Data(name="coco", validation_fraction=0.0)
  made = stand_in.maker(config, stand_in.counts(config))("train")
  assert len(made) == coco.PUBLISHED["train"]
  assert fields.of(made)["labels"] == fields.Labels(80)
  assert "label" not in fields.of(made)
