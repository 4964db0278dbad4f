"""The embedded photographs: disjoint, repeatable, written whole."""

import importlib.util
import os

import numpy as np
import pytest

from protojax.datasets import dataset, photos
from protojax.types import UserError
from tests.conftest import SHARED


@pytest.fixture
def few(monkeypatch):
  """One crop of each photograph, which is quicker."""
  monkeypatch.setattr(photos, "CROPS", {"train": 1, "test": 1})


@pytest.mark.parametrize("name", photos.CLASS_NAMES)
def test_no_pixel_is_in_both_splits(name):
  image = photos.photograph(name)
  seen = {}
  for split, count in photos.CROPS.items():
    boxes = photos.boxes(name, image, split)
    assert boxes.shape == (count, 4)
    assert (boxes[:, 2:] == 96).all()
    assert len(np.unique(boxes, axis=0)) == count
    seen[split] = np.zeros(image.shape[:2], bool)
    for x, y, w, h in boxes:
      assert seen[split][y : y + h, x : x + w].shape == (h, w)
      seen[split][y : y + h, x : x + w] = True
    np.testing.assert_array_equal(boxes, photos.boxes(name, image, split))
  assert not (seen["train"] & seen["test"]).any()
  assert not seen["train"][:, int(image.shape[1] * 0.6) :].any()
  assert not seen["test"][:, : int(image.shape[1] * 0.6)].any()


def test_records_are_the_crops():
  for split, count in photos.CROPS.items():
    # Where other tests read them.
    source = photos.opened(str(SHARED / "cache" / "protojax"), split)
    assert source.class_names == photos.CLASS_NAMES
    assert len(photos.CLASS_NAMES) == 13
    assert np.bincount(source.labels).tolist() == [count] * 13
    names = {source.name(i): i for i in range(len(source))}
    assert len(names) == len(source)
    for name in ("coffee", "brick"):
      image = photos.photograph(name)
      for j, (x, y, w, h) in enumerate(photos.boxes(name, image, split)):
        item = source[names[f"{name}-{split}-{j:02d}"]]
        np.testing.assert_array_equal(
          item["image"], image[y : y + h, x : x + w]
        )
        assert source.class_names[item["label"]] == name


def test_same_place_next_time_and_same_order_elsewhere(
  few, tmp_path, monkeypatch, data_config
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  default = dataset.open_split(data_config(), "test")
  (written,) = (tmp_path / "cache").rglob("features.json")
  before = written.stat()
  photos.opened(str(tmp_path / "other"), "train")
  other = dataset.open_split(data_config(root=str(tmp_path / "other")), "test")
  assert [default.name(i) for i in range(13)] == [
    other.name(i) for i in range(13)
  ]
  np.testing.assert_array_equal(default[7]["image"], other[7]["image"])
  again = dataset.open_split(data_config(), "test")
  assert len(again) == len(default) == 13
  assert written.stat().st_ino == before.st_ino


def test_a_killed_writer_leaves_nothing_half_read(tmp_path, monkeypatch):
  def killed(split):
    yield from []
    raise KeyboardInterrupt

  monkeypatch.setattr(photos, "_crops", killed)
  with pytest.raises(KeyboardInterrupt):
    photos.opened(str(tmp_path), "test")
  assert not list(tmp_path.rglob(photos.VERSION))
  monkeypatch.undo()
  monkeypatch.setattr(photos, "CROPS", {"train": 1, "test": 1})
  (tmp_path / ".photos-killed").mkdir()  # what a SIGKILL leaves
  assert len(photos.opened(str(tmp_path), "test")) == 13


def test_the_slower_of_two_writers_takes_the_others(tmp_path, few, monkeypatch):
  write, sizes = photos._builder, []

  def overtaken(data_dir):
    made = write(data_dir)
    if not sizes:  # the other one starts and ends while this one writes
      sizes.append(0)
      sizes.append(len(photos.opened(str(tmp_path), "test")))
    return made

  monkeypatch.setattr(photos, "_builder", overtaken)
  assert len(photos.opened(str(tmp_path), "test")) == 13
  assert sizes[1] == 13
  assert os.listdir(tmp_path) == ["protojax_photos"]


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda n: None if n == "sklearn" else find(n)
  )
  with pytest.raises(UserError, match=r"scikit-learn: .*protojax\[demo\]"):
    photos.opened(str(tmp_path), "train")
  assert not list(tmp_path.rglob("*"))


def test_a_place_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(
    UserError, match=r"cannot write the photos .*XDG_CACHE_HOME"
  ):
    photos.opened(str(tmp_path / "file"), "train")


def test_unknown_split(few, tmp_path):
  with pytest.raises(UserError, match="no split 'val'"):
    photos.opened(str(tmp_path), "val")


def test_nothing_is_written_where_data_are_read(tmp_path, data_config):
  with pytest.raises(UserError, match="does not hold the embedded photographs"):
    dataset.open_split(data_config(root=str(tmp_path)), "train")
  assert not list(tmp_path.iterdir())
