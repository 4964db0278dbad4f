"""Folders of classes: layouts, the seeded split, bad input."""

import io
import os
import re

import numpy as np
from PIL import Image
import pytest

from protojax.datasets import files, folder, image_check
from protojax.types import UserError


def classes(counts, prefix=""):
  return {
    f"{prefix}{c}/{i:02d}.png": i for c, n in counts.items() for i in range(n)
  }


def test_given_splits(make_folder):
  root = make_folder(
    classes({"cat": 3, "ant": 2}, "train/")
    | classes({"cat": 1, "ant": 1}, "test/")
  )
  train, test = folder.opened(root, "train"), folder.opened(root, "test")
  assert train.class_names == test.class_names == ("ant", "cat")
  assert train.labels.tolist() == [0, 0, 1, 1, 1]
  assert test.labels.dtype == np.int32
  assert test.name(1) == os.path.join("test", "cat", "00.png")
  item = train[4]
  assert item["label"] == 1
  assert item["name"] == train.name(4)
  expected = np.array(Image.open(os.path.join(root, train.name(4))))
  np.testing.assert_array_equal(item["image"], expected)


def test_other_names_of_the_splits(make_folder):
  root = make_folder(
    classes({"a": 1, "b": 1}, "fit/") | classes({"a": 2, "b": 1}, "val/")
  )
  splits = ("fit", "val")
  assert len(folder.opened(root, "val", splits=splits)) == 3


def test_seeded_split_is_stratified_disjoint_and_complete(make_folder):
  contents = classes({"a": 10, "b": 5, "c": 2})
  root = make_folder(contents)
  train, test = folder.opened(root, "train"), folder.opened(root, "test")
  assert np.bincount(train.labels).tolist() == [6, 3, 1]
  assert np.bincount(test.labels).tolist() == [4, 2, 1]
  assert not set(train.names) & set(test.names)
  assert sorted(train.names + test.names) == sorted(
    classes({"a": 10, "b": 5, "c": 2})
  )
  assert list(train.names) == sorted(train.names)


def test_seeded_split_depends_on_seed_and_names_alone(make_folder, monkeypatch):
  root = make_folder(classes({"a": 12, "b": 12}))
  first = folder.opened(root, "test", seed=1)
  assert folder.opened(root, "test", seed=1).names == first.names
  assert folder.opened(root, "test", seed=2).names != first.names
  walk = os.walk
  monkeypatch.setattr(
    os,
    "walk",
    lambda *a, **k: ((p, d[::-1], f[::-1]) for p, d, f in walk(*a, **k)),
  )
  assert folder.opened(root, "test", seed=1).names == first.names
  # One file more changes the rank of no other.
  make_folder({"b/zz.png": 1})
  later = set(folder.opened(root, "test", seed=1).names)
  assert len(set(first.names) - later) <= 1


def test_a_class_may_be_called_train(make_folder):
  root = make_folder(classes({"train": 5, "boat": 5}))
  assert folder.opened(root, "train").class_names == ("boat", "train")


def test_nested_hidden_and_foreign_files(make_folder):
  root = make_folder(
    classes({"a": 2, "b": 2})
    | {"a/deep/x.PNG": 3, "a/.x.png": b"", "a/notes.txt": b"", ".git/x.png": 1}
  )
  train, test = folder.opened(root, "train"), folder.opened(root, "test")
  assert train.class_names == ("a", "b")
  assert len(train) + len(test) == 5
  assert train.skipped == ()


def test_what_macos_leaves_of_an_archive_is_no_class(make_folder):
  root = make_folder(
    classes({"a": 2, "b": 2})
    | {"__MACOSX/a/._0.png": b"", "a/__MACOSX/0.png": b""}
  )
  assert folder.opened(root, "train").class_names == ("a", "b")
  assert folder.opened(root, "test").skipped == ()


def test_broken_images_are_named_skipped_and_counted(make_folder):
  root = make_folder(
    classes({"a": 4, "b": 4}) | {"a/bad.jpg": b"junk", "b/empty.png": b""}
  )
  source = folder.opened(root, "train")
  assert dict(source.skipped) == {
    os.path.join("a", "bad.jpg"): "not an image that Pillow can read",
    os.path.join("b", "empty.png"): "empty file",
  }
  assert not {n for n, _ in source.skipped} & set(source.names)


def test_the_check_is_remembered_until_a_file_changes(
  make_folder, cache, monkeypatch
):
  root = make_folder(classes({"a": 3, "b": 3}) | {"a/bad.png": b"junk"})
  folder.opened(root, "train")
  read = []
  reason = image_check._reason
  monkeypatch.setattr(
    image_check, "_reason", lambda p: read.append(p) or reason(p)
  )
  assert len(folder.opened(root, "test").skipped) == 1
  assert read == []
  make_folder({"a/bad.png": 3})
  assert folder.opened(root, "test").skipped == ()
  assert read == [os.path.join(root, "a", "bad.png")]
  (memory,) = (cache / "checked").iterdir()
  for damage in ("{", "[]", '{"a/bad.png": 3}'):
    memory.write_text(damage)
    assert folder.opened(root, "test").skipped == ()


def test_a_cache_that_cannot_be_written_is_no_error(make_folder, monkeypatch):
  root = make_folder(classes({"a": 2, "b": 2}))
  monkeypatch.setenv("XDG_CACHE_HOME", os.path.join(root, "a", "00.png"))
  assert len(folder.opened(root, "train")) == 2


def test_an_image_that_breaks_later_is_a_users_error(make_folder):
  root = make_folder(classes({"a": 2, "b": 2}))
  source = folder.opened(root, "train")
  make_folder({source.names[0]: b"junk"})
  with pytest.raises(UserError, match=re.escape(source.names[0])):
    source[0]


@pytest.mark.parametrize(
  ("contents", "message"),
  [
    ({}, "no class folder in"),
    ({"x.png": 1}, "no class folder in"),
    (classes({"a": 2}) | {"b/notes.txt": b""}, "class 'b' has no image"),
    (
      classes({"a": 2}) | {"b/x.png": b"junk"},
      r"class 'b' has no readable image: all 1 .*not an image",
    ),
    (classes({"a": 2, "b": 1}), "class 'b' .* 1 readable image"),
    (
      classes({"a": 1, "b": 1}, "train/") | classes({"a": 1, "c": 1}, "test/"),
      "differ in classes .only in train: b; only in test: c",
    ),
    (classes({"a": 1}, "train/"), "has train/ but no test/"),
    (classes({"a": 1}, "test/"), "has test/ but no train/"),
    ({"train/x.txt": b"", "test/x.txt": b""}, "no class folder in .*train"),
  ],
)
def test_bad_folders(make_folder, contents, message):
  with pytest.raises(UserError, match=message):
    folder.opened(make_folder(contents), "train")


def test_bad_roots_and_numbers(make_folder, tmp_path):
  with pytest.raises(UserError, match=r"set --config\.data\.root"):
    folder.opened("", "train")
  with pytest.raises(UserError, match=r"no folder .*nowhere"):
    folder.opened(str(tmp_path / "nowhere"), "train")
  root = make_folder(classes({"a": 2, "b": 2}))
  with pytest.raises(UserError, match="is a file"):
    folder.opened(os.path.join(root, "a", "00.png"), "train")
  with pytest.raises(UserError, match="no split 'val'"):
    folder.opened(root, "val")
  with pytest.raises(UserError, match=r"test_fraction=1\.5"):
    folder.opened(root, "train", test_fraction=1.5)


def test_images_from_a_file_a_folder_and_a_pattern(make_folder, tmp_path):
  root = make_folder({"a/1.png": 1, "a/b/2.png": 2, "3.png": 3, "4[x].png": 4})
  everything = files.images(root)
  assert len(everything) == 4
  assert everything.class_names == ()
  assert everything.labels.tolist() == [-1] * 4
  one = files.images(os.path.join(root, "4[x].png"))
  assert one.name(0).endswith("4[x].png")
  assert len(files.images(os.path.join(root, "**", "*.png"))) == 4
  # The same image named twice counts once.
  assert len(files.images(root, os.path.join(root, "3.png"))) == 4
  # A file the user names needs no suffix.
  os.rename(os.path.join(root, "3.png"), os.path.join(root, "three"))
  assert len(files.images(os.path.join(root, "three"))) == 1


def test_a_picture_of_several_views_is_read(make_folder):
  views = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
  content = io.BytesIO()
  views[0].save(content, "MPO", save_all=True, append_images=views[1:])
  source = files.images(make_folder({"a.mpo": content.getvalue()}))
  first = source[0]["image"].astype(int)
  assert first[..., 0].min() > 200
  assert first[..., 2].max() < 50


def test_photographs_of_formats_that_are_not_read_are_named(make_folder):
  unread = {"a/x.HEIC": b"1", "b/y.dng": b"1", "b/.z.heic": b"", "b/n.txt": b""}
  root = make_folder(classes({"a": 4, "b": 4}) | unread)
  why = " is not read; save it as PNG or JPEG"
  assert dict(folder.opened(root, "train").skipped) == {
    "a/x.HEIC": f".heic{why}",
    "b/y.dng": f".dng{why}",
  }
  pattern = os.path.join(root, "a", "*")
  for place, count in (root, 2), (pattern, 1):
    assert len(files.images(place).skipped) == count
  with pytest.raises(UserError, match=r"no readable .*x\.HEIC: \.heic is not"):
    files.images(os.path.join(root, "a", "*.HEIC"))


def test_images_without_any(make_folder, tmp_path):
  root = make_folder({"bad.png": b"junk", "a.txt": b""})
  with pytest.raises(UserError, match=r"no readable .*bad\.png: not an"):
    files.images(root)
  for path in ("nowhere", "*.gif", "*.txt"):
    with pytest.raises(UserError, match="no image at"):
      files.images(os.path.join(root, path))
  make_folder({"good.png": 1})
  assert len(files.images(root).skipped) == 1


def test_names_that_are_not_utf8(make_folder):
  root = make_folder({"a/1.png": 1})
  os.rename(
    os.path.join(root, "a", "1.png"),
    os.path.join(os.fsencode(root), b"a", b"\xff.png"),
  )
  name = files.images(root).name(0)
  assert name.endswith("\\xff.png")
  name.encode()
