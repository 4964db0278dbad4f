"""Links and special files: each real folder once, regular files only."""

import os
import socket

import pytest

from protojax.data import images
from protojax.datasets import (
  anomalies,
  archive,
  files,
  folder,
  layouts,
  truths,
  walk,
)
from protojax.types import UserError
from tests.datasets import anomaly_fakes as fakes


def classes(*names, count=4):
  return {f"{n}/{i}.png": i for n in names for i in range(count)}


def link(root, name, to):
  os.symlink(to, os.path.join(root, name))


def test_a_link_to_a_folder_above_adds_nothing(make_folder):
  root = make_folder(classes("a", "b"))
  link(root, "a/up", "..")
  link(root, "b/over", "../../..")
  train, test = folder.opened(root, "train"), folder.opened(root, "test")
  assert len(train) + len(test) == 8
  assert set(dict(train.skipped)) == {"a/up", "b/over"}
  assert "is read already" in dict(train.skipped)["a/up"]
  assert "is above" in dict(train.skipped)["b/over"]


def test_links_in_a_circle_end(make_folder):
  root = make_folder(classes("a", "b"))
  for one, other in (("a", "b"), ("b", "a")):
    for number in range(3):
      link(root, f"{one}/l{number}", f"../{other}")
  assert len(files.images(root)) == 8
  assert len(files.images(root).skipped) == 6
  assert len(files.images(f"{root}/**/*.png")) == 8
  assert len(archive.opened(root).skipped) == 6


def test_the_real_folder_counts_and_links_outside_are_followed(
  make_folder, tmp_path
):
  root = make_folder(classes("b", "../far/c"))
  link(root, "a", "b")
  link(root, "c", tmp_path / "far" / "c")
  with pytest.raises(UserError, match="class 'a' has no image"):
    folder.opened(root, "train")
  os.remove(os.path.join(root, "a"))
  assert folder.opened(root, "train").class_names == ("b", "c")


def test_splits_that_are_links_do_not_leak(make_folder):
  root = make_folder(classes("train/a", "train/b", "pool/a", "pool/b"))
  link(root, "test", "train")
  with pytest.raises(UserError, match=r"test leads to .*train.* must differ"):
    folder.opened(root, "train")
  os.remove(os.path.join(root, "test"))
  link(root, "test", "pool")
  assert len(folder.opened(root, "test")) == 8
  # One image by two names is read once, in training.
  link(root, "pool/a/same.png", "../../train/a/0.png")
  test = folder.opened(root, "test")
  assert len(test) == 8
  assert "is read already" in dict(test.skipped)["test/a/same.png"]


def test_links_to_files_of_a_pool_make_splits(make_folder):
  root = make_folder(classes("pool", count=8))
  for number in range(8):
    split, name = ("train", "test")[number % 2], "ab"[number // 4]
    os.makedirs(os.path.join(root, split, name), exist_ok=True)
    link(root, f"{split}/{name}/{number}.png", f"../../pool/{number}.png")
  assert len(folder.opened(root, "train")) == 4
  assert len(folder.opened(root, "test")) == 4


def test_pipes_and_sockets_are_named(make_folder):
  root = make_folder(classes("a", "b"))
  os.mkfifo(os.path.join(root, "a", "a.jpg"))
  os.mkfifo(os.path.join(root, "a", "notes"))
  link(root, "b/gone.png", "nowhere.png")
  link(root, "b/self.png", "self.png")
  with socket.socket(socket.AF_UNIX) as s:
    here = os.getcwd()
    os.chdir(os.path.join(root, "b"))
    try:
      s.bind("s.png")
    finally:
      os.chdir(here)
  expected = {
    os.path.join("a", "a.jpg"): "a pipe, not a regular file",
    os.path.join("b", "gone.png"): "a link that leads nowhere",
    os.path.join("b", "s.png"): "a socket, not a regular file",
    os.path.join("b", "self.png"): "a link that leads nowhere",
  }
  assert dict(folder.opened(root, "train").skipped) == expected
  assert len(files.images(root).skipped) == 4
  pipe = os.path.join(root, "a", "a.jpg")
  for named in (pipe, f"{root}/a/a.*"):
    with pytest.raises(UserError, match=r"a\.jpg: not a regular file"):
      files.images(named)
  for read in (images.decode, truths.read):
    with pytest.raises(ValueError, match="not a regular file"):
      read(pipe)
  with pytest.raises(OSError, match="not a regular file"):
    truths.size(pipe)
  os.mkfifo(os.path.join(root, "x.tar"))
  assert sorted(archive.opened(root).names) == sorted(classes("a", "b"))


def test_anomalies_are_read_once(make_folder):
  root = make_folder(fakes.mvtec("a"))
  before = len(layouts.read(root).entries)
  link(root, "a/test/again", "../train/good")
  link(root, "a/train/good/up", "..")
  link(root, "a/test/good/same.png", "../../train/good/000.png")
  os.mkfifo(os.path.join(root, "a", "test", "crack", "x.png"))
  found = layouts.read(root)
  assert len(found.entries) == before
  names = set(dict(found.skipped))
  assert names == {
    f"a/{name}"
    for name in (
      "test/again",
      "train/good/up",
      "test/good/same.png",
      "test/crack/x.png",
    )
  }
  config = fakes.config(root=root)
  source = anomalies.open_split(config, "train")
  assert set(dict(source.skipped)) == names


def test_a_folder_that_cannot_be_listed_is_named(monkeypatch, make_folder):
  root = make_folder(classes("a", "b"))
  scan = os.scandir

  def refuse(path):
    if path == os.path.join(root, "b"):
      raise PermissionError(13, "Permission denied")
    return scan(path)

  monkeypatch.setattr(os, "scandir", refuse)
  assert walk.walk(root).skipped == (
    (os.path.join(root, "b"), "cannot be listed: Permission denied"),
  )


@pytest.mark.parametrize(
  ("path", "root"),
  [
    ("data/a/b.png", "data"),
    ("data/a/b.png", "data/"),
    ("/data/a/b.png", "/data"),
    ("/data/a/b.png", "/"),
    ("/data2/a.png", "/data"),
    ("a/b.png", "."),
    ("./a/b.png", "."),
    ("data", "data"),
  ],
)
def test_below_is_what_relpath_says(path, root):
  assert walk.below(path, root) == os.path.relpath(path, root)


def test_links_of_a_folder_are_looked_for_once(tmp_path, monkeypatch):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    for i in range(20):
      (tmp_path / name / f"{i}.png").touch()
  files = walk.walk(str(tmp_path)).files
  asked = []
  real = os.path.realpath
  monkeypatch.setattr(
    os.path, "realpath", lambda path: (asked.append(path), real(path))[1]
  )
  stay, lost = walk.once(files, str(tmp_path))
  assert stay == list(files)
  assert not lost
  assert len(asked) == 3  # The root and each folder.
