"""Folders of classes as records: the same as read from disk."""

import numpy as np
import pytest

from protojax.datasets import class_folders, folder, photo_records
from protojax.datasets import tfds as tfds_lib
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes

# Names that a shell, a page or a path could stumble over.
ODD = ("a b", "it's", 'say "hi"', "<b>&amp;", "Größe", "..hidden?", "-rf")


def photos(*names, count=5, prefix=""):
  return {
    f"{prefix}{c}/{i}.jpg": fakes.jpeg(10 * k + i)
    for k, c in enumerate(names)
    for i in range(count)
  }


def write(tmp_path, tree, kind="zip"):
  source = fakes.pack(tmp_path, tree, kind)
  return photo_records.write(class_folders.read, source, str(tmp_path / "out"))


@pytest.mark.parametrize("kind", fakes.KINDS)
@pytest.mark.parametrize("prefix", ["", "set/deep/"])
def test_without_splits_as_the_folder_is_split(tmp_path, kind, prefix):
  tree = photos("cat", "ant", "bee", prefix=prefix)
  outcome = write(tmp_path, tree, kind)
  assert outcome.counts == {"train": 9, "test": 6}
  root = f"{fakes.pack(tmp_path, tree, 'folder', 'disk')}/{prefix}"
  for split in ("train", "test"):
    disk = folder.opened(root, split)
    source = tfds_lib.opened("prepared", str(tmp_path / "out"), split)
    assert source.class_names == disk.class_names
    expected = {disk.name(i): disk[i] for i in range(len(disk))}
    assert {source.name(i) for i in range(len(source))} == set(expected)
    for i in range(len(source)):
      item = expected[source.name(i)]
      assert source.labels[i] == item["label"]
      np.testing.assert_array_equal(source[i]["image"], item["image"])


def test_given_splits_and_what_is_no_image(tmp_path):
  tree = photos("b", "a", prefix="train/", count=2)
  tree |= photos("b", "a", prefix="test/", count=1)
  tree |= {
    "train/a/notes.txt": b"",
    "train/a/.x.jpg": b"",
    "__MACOSX/train/a/0.jpg": b"",
    "README.md": b"",
    "train/b/bad.png": b"junk",
    "train/b/phone.heic": b"1",
    "train/b/deep/2.png": fakes.jpeg(99),
  }
  outcome = write(tmp_path, tree)
  assert outcome.counts == {"train": 5, "test": 2}
  assert outcome.skipped == (
    ("train/b/phone.heic", ".heic is not read; save it as PNG or JPEG"),
    ("train/b/bad.png", "not an image that Pillow can read"),
  )


def test_what_lies_beside_the_splits_is_said(tmp_path):
  tree = photos("b", "a", prefix="train/", count=2)
  tree |= photos("b", "a", prefix="test/", count=1)
  tree |= photos("b", "a", prefix="val/", count=3)
  outcome = write(tmp_path, tree | {"train/0.jpg": fakes.jpeg(98)})
  assert outcome.counts == {"train": 4, "test": 2}
  assert dict(outcome.skipped) == {
    "val": "6 images beside the splits, not read",
    "train/0.jpg": "beside the folders of the classes",
  }


def test_odd_names_are_names(tmp_path):
  names = [name for name in ODD if not name.startswith(".")]
  write(tmp_path, photos(*names, count=2), "tar")
  source = tfds_lib.opened("prepared", str(tmp_path / "out"), "train")
  assert source.class_names == tuple(sorted(names))
  assert {source.name(i).split("/")[0] for i in range(len(source))} == set(
    names
  )


def test_names_that_are_not_utf8(tmp_path):
  write(tmp_path, photos("b\udcff", "a", count=2), "tar")
  source = tfds_lib.opened("prepared", str(tmp_path / "out"), "test")
  assert source.class_names == ("a", r"b\xff")


@pytest.mark.parametrize("kind", fakes.KINDS)
@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"empty": None}, "class 'empty' has no image: add images to .*empty"),
    ({"one/0.jpg": fakes.jpeg(0)}, "class 'one' in .* has 1 image and the"),
    (
      {f"one/{i}.jpg": b"junk" for i in range(2)},
      "class 'one' in .* has no readable test image",
    ),
  ],
)
def test_classes_without_images_leave_nothing(tmp_path, kind, change, message):
  with pytest.raises(UserError, match=message):
    write(tmp_path, photos("a", "b") | change, kind)
  assert not list((tmp_path / "out").glob("*"))


def test_splits_of_different_classes(tmp_path):
  tree = photos("a", "b", prefix="train/") | photos("a", prefix="test/")
  with pytest.raises(
    UserError, match=r"differ in classes \(only in train: b\)"
  ):
    write(tmp_path, tree)


def test_no_classes(tmp_path):
  with pytest.raises(
    UserError, match=r"no class folder in .*: expected .*<class"
  ):
    write(tmp_path, {"1.jpg": fakes.jpeg(1)})
