"""The level of a folder that holds the classes; what is refused."""

import re

import numpy as np
import pytest

from protojax.datasets import class_folders, folder, layouts, photo_records
from protojax.types import UserError
from tests.datasets import anomaly_fakes, archive_fakes


def tree(*names, count=2):
  return {f"{n}/{i}.png": i for n in names for i in range(count)}


def opened(make_folder, contents):
  """Class names and images, of the folder and of what is prepared from it."""
  root = make_folder(contents)
  return folder.opened(root, "train"), folder.opened(root, "test")


@pytest.mark.parametrize(
  ("train", "test"), [("Train", "Test"), ("TRAIN", "test"), ("train", "TEST")]
)
@pytest.mark.parametrize("above", ["", "data/", "a/b/c/"])
def test_splits_in_capitals_and_folders_above(make_folder, train, test, above):
  names = [f"{above}{s}/{c}" for s in (train, test) for c in ("cat", "ant")]
  first, second = opened(make_folder, tree(*names) | {"docs/readme.md": b""})
  assert first.class_names == second.class_names == ("ant", "cat")
  assert first.names[0] == f"{train}/ant/0.png"
  assert second.names[0] == f"{test}/ant/0.png"
  assert first.skipped == second.skipped == ()


def test_small_letters_come_first(make_folder):
  names = [f"{s}/{c}" for s in ("train", "Train", "test") for c in "ab"]
  first, second = opened(make_folder, tree(*names))
  assert {name.split("/")[0] for name in first.names} == {"train"}
  assert dict(first.skipped) == {
    "Train": "4 images beside the splits, not read"
  }
  assert second.skipped == ()


def test_folders_above_are_said(make_folder, caplog):
  opened(make_folder, tree("set/deep/a", "set/deep/b"))
  (line,) = caplog.messages
  assert line.endswith("/root/set/deep is read")


@pytest.mark.parametrize(
  ("names", "said"),
  [
    (("Cat", "cat", "dog"), "'Cat', 'cat'"),
    ((" red", "blue", "red", "red "), "' red', 'red', 'red '"),
    (("e\u0301", "\u00e9", "x"), r"'e\u0301', '\xe9'"),
    (("E\u0301", "\u00e9", "x"), "'E\u0301', '\u00e9'"),
  ],
)
def test_classes_that_look_alike_are_said_once(
  make_folder, tmp_path, caplog, names, said
):
  contents = tree(*(f"{s}/{n}" for s in ("train", "test") for n in names))
  first, second = opened(make_folder, contents)
  assert first.class_names == second.class_names == tuple(sorted(names))
  files = {n: archive_fakes.jpeg(0) for n in contents}
  source = archive_fakes.pack(tmp_path, files, "zip")
  photo_records.write(class_folders.read, source, str(tmp_path / "out"))
  of_folder, of_archive = caplog.messages
  for message in of_folder, of_archive:
    assert f": {said}; they stay separate" in message


def test_splits_that_differ_in_what_cannot_be_seen(make_folder):
  names = ("train/a", "train/e\u0301", "test/a", "test/\u00e9")
  said = r"only in train: 'e\u0301'; only in test: '\xe9'"
  with pytest.raises(UserError, match=re.escape(said)):
    opened(make_folder, tree(*names))


def test_other_classes_do_not_look_alike(make_folder, caplog):
  opened(make_folder, tree("a b", "ab", "e", "\u00e9", "a_b"))
  assert not caplog.messages


def test_images_that_are_in_no_class_are_named(make_folder):
  loose = {"x.png": 1, "val/a/1.png": 1, "test/y.png": 2}
  names = [f"{s}/{c}" for s in ("train", "test") for c in "ab"]
  first, second = opened(make_folder, tree(*names) | loose)
  assert dict(first.skipped) == {
    "x.png": "beside the folders of the splits",
    "val": "1 images beside the splits, not read",
  }
  assert dict(second.skipped) == {
    "test/y.png": "beside the folders of the classes"
  }


WRONG = [
  (
    tree("images") | {"labels.csv": b"1"},
    r"one folder only, images .*labels\.",
  ),
  (
    {"x.png": 1, "labels.csv": b""},
    r"no class folder .* 1 images.*labels\.csv",
  ),
  (tree("train/a", "test/a"), "train has one folder only, a with 2 images"),
  (tree("A/a", "A/b", "B/a", "B/b"), r"A, B in .* folders of images \(a, b\)"),
  (tree("a", "b/x", "b/y"), r"b in .* cannot be classes"),
  (tree("w/dev/a", "w/dev/b", "w/eval/a", "w/eval/b"), "dev, eval in .*/w "),
  (tree("train/s/a", "train/s/b", "test/s/a", "test/s/b"), "s in .*train can"),
  (tree("Train/a", "Train/b"), "has Train/ but no test/"),
  (tree("x/train/a", "x/train/b"), "has x/train/ but no test/"),
]


@pytest.mark.parametrize(("contents", "message"), WRONG)
def test_wrong_levels_are_refused(make_folder, contents, message):
  with pytest.raises(UserError, match=message) as error:
    folder.opened(make_folder(contents), "train")
  assert "--source" not in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(("contents", "message"), WRONG)
def test_prepare_refuses_the_same(tmp_path, kind, contents, message):
  image = archive_fakes.jpeg(0)
  files = {n: image if n.endswith("png") else b"" for n in contents}
  source = archive_fakes.pack(tmp_path, files, kind)
  with pytest.raises(UserError, match=message.split(".*labels")[0]) as error:
    photo_records.write(class_folders.read, source, str(tmp_path / "out"))
  assert "--config" not in str(error.value)  # `prepare` has no config


def test_prepare_takes_splits_in_capitals(tmp_path):
  names = [f"w/{s}/{c}" for s in ("Train", "TEST") for c in "ab"]
  files = {f"{n}/{i}.jpg": archive_fakes.jpeg(i) for n in names for i in (1, 2)}
  source = archive_fakes.pack(tmp_path, files, "zip")
  outcome = photo_records.write(
    class_folders.read, source, str(tmp_path / "out")
  )
  assert outcome.counts == {"train": 4, "test": 4}


def test_anomalies_with_capitals_and_folders_above(make_folder):
  contents = {
    name.replace("train/", "Train/").replace("test/", "TEST/"): content
    for name, content in anomaly_fakes.mvtec("bottle").items()
  }
  found = layouts.read(make_folder({f"x/y/{n}": contents[n] for n in contents}))
  assert len(found.entries) == 17
  assert {entry.category for entry in found.entries} == {"bottle"}
  found.require_truth([i for i, mask in enumerate(found.masks) if mask])
  assert found.skipped == ()


def test_images_of_no_anomaly_split_are_named(make_folder):
  contents = anomaly_fakes.mvtec("a") | {"a/validation/good/1.png": 1}
  found = layouts.read(make_folder(contents))
  assert found.skipped == (
    ("a/validation/good", "1 images of no category, split or kind"),
  )


@pytest.mark.parametrize(
  ("contents", "message"),
  [
    (tree("good/a", "good/b", "bad"), "good cannot be one kind of images"),
    (tree("good", "bad/crack", "bad/hole"), "bad cannot be one kind"),
    (tree("good"), "has good/ only"),
    (tree("x/cat", "x/dog"), "has x: expected CATEGORY"),
  ],
)
def test_wrong_levels_of_anomalies(make_folder, contents, message):
  with pytest.raises(UserError, match=message):
    layouts.read(make_folder(contents))


def test_a_class_may_hold_folders_of_its_own(make_folder):
  contents = tree("a", "b", count=4) | tree("a/x", "a/y", count=1)
  first, second = opened(make_folder, contents)
  assert np.bincount(first.labels).sum() + len(second) == 10
