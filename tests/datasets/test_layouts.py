"""Layouts of folders: the images, their kinds and their masks."""

import json
import os

import pytest

from protojax.datasets import layouts, truths
from protojax.types import UserError
from tests.datasets import anomaly_fakes as fakes


def counts(collection):
  found = {}
  for entry in collection.entries:
    key = (entry.category, entry.kind, entry.split)
    found[key] = found.get(key, 0) + 1
  return found


def check_masks(collection):
  """Every defective image has a mask that is there, no normal image has one."""
  for entry, mask in zip(collection.entries, collection.masks, strict=True):
    assert bool(mask) == (entry.kind != "normal")
    assert os.path.isfile(os.path.join(collection.root, entry.name))
    if mask:
      assert truths.read(os.path.join(collection.root, mask)).any()


def test_mvtec(make_folder):
  root = make_folder(fakes.mvtec("cable", "bottle"))
  found = layouts.read(root)
  assert counts(found) == {
    (category, *rest): n
    for category in ("bottle", "cable")
    for rest, n in {
      ("normal", "train"): 8,
      ("normal", "test"): 3,
      ("crack", "test"): 3,
      ("hole", "test"): 3,
    }.items()
  }
  check_masks(found)
  place = [e.name for e in found.entries].index("cable/test/hole/001.png")
  assert found.masks[place] == "cable/ground_truth/hole/001_mask.png"
  # Those of a category together, the normal ones first.
  assert [e.category for e in found.entries] == ["bottle"] * 17 + ["cable"] * 17


def test_one_category_of_mvtec(make_folder):
  found = layouts.read(make_folder(fakes.mvtec("")))
  assert {entry.category for entry in found.entries} == {"root"}
  check_masks(found)


def test_visa(make_folder):
  found = layouts.read(make_folder(fakes.visa("candle", "pcb1")))
  assert counts(found) == {
    (category, *rest): n
    for category in ("candle", "pcb1")
    for rest, n in {
      ("normal", "train"): 4,
      ("normal", "test"): 2,
      ("anomaly", "test"): 2,
    }.items()
  }
  check_masks(found)


@pytest.mark.parametrize(
  "lists", ["realiad_jsons", "realiad_jsons/realiad_jsons"]
)
def test_real_iad(make_folder, lists):
  found = layouts.read(make_folder(fakes.real_iad("toy", "usb", lists=lists)))
  assert counts(found) == {
    (category, *rest): n
    for category in ("toy", "usb")
    for rest, n in {
      ("normal", "train"): 4,
      ("normal", "test"): 2,
      ("AK", "test"): 2,
    }.items()
  }
  check_masks(found)
  assert all(e.name.startswith("realiad_1024/") for e in found.entries)


def test_real_iad_with_the_prefix_in_the_root(make_folder):
  tree = fakes.real_iad("toy")
  content = json.loads(tree["realiad_jsons/toy.json"])
  content["meta"]["prefix"] = "realiad_256\\toy\\"
  tree["realiad_jsons/toy.json"] = json.dumps(content).encode()
  found = layouts.read(make_folder(tree))
  assert all(e.name.startswith("realiad_256/toy/") for e in found.entries)
  check_masks(found)


def test_real_iad_without_the_paths_of_masks(make_folder):
  tree = fakes.real_iad("toy")
  content = json.loads(tree["realiad_jsons/toy.json"])
  for item in content["test"]:
    del item["mask_path"]
  tree["realiad_jsons/toy.json"] = json.dumps(content).encode()
  check_masks(layouts.read(make_folder(tree)))


@pytest.mark.parametrize("normal", ["good", "Normal", "OK", "Free"])
def test_plain(make_folder, normal):
  found = layouts.read(make_folder(fakes.plain(normal)))
  assert counts(found) == {
    ("root", "normal", ""): 10,
    ("root", "dent", "test"): 3,
    ("root", "scratch", "test"): 3,
    ("root", "stain", "test"): 3,
  }
  check_masks(found)


def test_masks_of_normal_images_are_no_images(make_folder):
  tree = fakes.plain() | {"good/x.jpg": 1, "good/x.png": fakes.mask() * 0}
  found = layouts.read(make_folder(tree))
  assert counts(found)["root", "normal", ""] == 11


@pytest.mark.parametrize(
  ("tree", "message"),
  [
    ({"cat/1.png": 1, "dog/1.png": 1}, "is not laid out as .*MVTec-AD"),
    ({"good/x.txt": b"", "bad/x.txt": b""}, "no image in"),
    (fakes.plain() | {"ok/1.png": 1}, "good and ok: one folder holds"),
    (
      fakes.mvtec("a") | {"a/train/crack/1.png": 1},
      "has a/train/crack/1.png for training, which is 'crack'",
    ),
    ({"a/Data/Images/Normal/1.png": 1}, "no split_csv/1cls.csv"),
    ({"split_csv/1cls.csv": b"object,split\na,train\n"}, "line 2 lacks one"),
    (
      {"split_csv/1cls.csv": b"object,split,label,image,mask\na,val,normal,b,"},
      "line 2 has the split 'val'",
    ),
    (
      {"split_csv/1cls.csv": b"object,split,label,image,mask\na,test,bad,b,"},
      "line 2 has no mask for a defective image",
    ),
    (
      {
        "split_csv/1cls.csv": b"object,split,label,image,mask\n"
        b"a,train,normal,a/1.png,\na,test,normal,a/1.png,\n"
      },
      "lists a/1.png twice",
    ),
    ({"realiad_jsons/x.txt": b""}, "has no CATEGORY.json"),
    ({"realiad_jsons/a.json": b"{"}, "a.json is not valid JSON.*a list of R"),
    (
      {"realiad_jsons/a.json": b'{"meta": {}}'},
      "has no key 'test'.*a list of Real-IAD has",
    ),
    ({"realiad_jsons/a.json": b"[]"}, r"holds \[\]; .*: a list of Real-IAD"),
  ],
)
def test_what_is_not_as_expected(make_folder, tree, message):
  with pytest.raises(UserError, match=message):
    layouts.read(make_folder(tree))
