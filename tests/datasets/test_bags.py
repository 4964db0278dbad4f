"""Bags in folders and lists, and what is said of those that do not fit."""

import csv

import ml_collections
import numpy as np
import pytest

from protojax.datasets import bag_files, bags
from protojax.types import UserError


def _save(path, n=3, channels=4, **more):
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(n)
  features = rng.normal(size=(n, channels)).astype(np.float32)
  coords = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.int32)
  np.savez(path, features=features, coords=coords, **more)


def _data(root, **changes):
  return ml_collections.ConfigDict(
    {
      "root": str(root),
      "train": "train",
      "test": "test",
      "tasks": (),
      "negative": "normal",
      "list": "",
      "test_fraction": 0.0,
      **changes,
    }
  )


@pytest.fixture
def folder(tmp_path):
  """Two tasks, two bags of each class and split."""
  for split in ("train", "test"):
    for task in ("liver", "breast"):
      for label in ("normal", "tumor"):
        for i in (1, 2):
          name = f"{task}-{label}-{split}-{i}.npz"
          labels = np.arange(i + 2) % 2
          place = tmp_path / split / task / label / name
          _save(place, i + 2, labels=labels)
  return tmp_path


def _listed(root, rows, columns="bag,task,label,split"):
  with (root / "bags.csv").open("w", newline="") as file:
    csv.writer(file).writerows([columns.split(","), *rows])


def test_a_folder_says_task_and_class(folder):
  found = bags.load(_data(folder), "train", 0)
  assert found.tasks == ("breast", "liver")
  assert found.class_names == (
    "breast: normal",
    "breast: tumor",
    "liver: normal",
    "liver: tumor",
  )
  assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
  assert found.sizes("bag").tolist() == [3, 4] * 4
  example = found[1]
  assert example["name"].endswith("breast-normal-train-2")
  assert example["bag"].shape == (4, 4)
  assert example["places"].tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
  assert example["truth"][:, 0].tolist() == [0, 1, 0, 1]
  assert found.placed
  assert found.reader.pictures(0, [0]) is None
  turned = bags.load(_data(folder, tasks=("liver",)), "test", 0)
  assert turned.class_names == ("liver: normal", "liver: tumor")
  assert len(turned) == 4


def test_without_the_negative_class_the_first_by_name_is_taken_and_said(folder):
  found = bags.load(_data(folder, negative="benign"), "train", 0)
  assert "breast has no class 'benign': normal is taken" in found.notes[0]


def test_tiles_are_the_pictures_of_instances(folder):
  tiles = np.arange(3 * 2 * 2 * 3, dtype=np.uint8).reshape(3, 2, 2, 3)
  _save(folder / "train/liver/tumor/liver-tumor-train-1.npz", 3, tiles=tiles)
  found = bags.load(_data(folder), "train", 0)
  shown = found.reader.pictures(6, [2, 0])
  np.testing.assert_array_equal(shown, tiles[[2, 0]])


def test_hdf5_is_read_as_npz(folder):
  h5py = pytest.importorskip("h5py", reason="the extra `bags` has h5py")
  path = folder / "train/liver/tumor/liver-tumor-train-3.h5"
  with h5py.File(path, "w") as file:
    file["features"] = np.ones((5, 4), np.float32)
    file["coords"] = np.zeros((5, 2), np.int32)
  found = bags.load(_data(folder), "train", 0)
  assert found.sizes("bag").tolist()[-1] == 5
  assert found[8]["bag"].tolist() == np.ones((5, 4)).tolist()
  assert found[8]["truth"][:, 0].tolist() == [-1] * 5


def test_a_list_says_what_each_bag_is(tmp_path):
  for name in ("a", "b", "c", "d"):
    _save(tmp_path / f"deep/{name}.npz")
  rows = [("a", "t", "normal"), ("b", "t", "tumor"), ("c", "t", "normal")]
  splits = ("train", "train", "test")
  _listed(tmp_path, [(*r, s) for r, s in zip(rows, splits, strict=True)])
  assert bags.load(_data(tmp_path), "train", 0).labels.tolist() == [0, 1]
  assert bags.load(_data(tmp_path), "test", 0).name(0) == "deep/c"


def test_patients_stay_whole_where_the_split_is_drawn(tmp_path):
  for i in range(24):
    _save(tmp_path / f"{i}.npz")
  rows = [(f"p{i // 2}", str(i), ("x", "y")[i // 12]) for i in range(24)]
  place = tmp_path / "lists"
  place.mkdir()
  with (place / "lung.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("case_id", "slide_id", "label"), *rows])
  data = _data(tmp_path, list=str(place), test_fraction=0.3)
  train, test = (bags.load(data, split, 0) for split in ("train", "test"))
  assert (len(train), len(test)) == (16, 8)
  assert train.tasks == ("lung",)

  def patients(found):
    return {int(found.name(i)) // 2 for i in range(len(found))}

  assert not patients(train) & patients(test)
  with pytest.raises(
    UserError, match=r"says no split of 0: set .*test_fraction"
  ):
    bags.load(_data(tmp_path, list=str(place)), "train", 0)


def test_the_list_of_camelyon16_names_the_bags_of_testing(tmp_path):
  for name in ("normal_001", "tumor_001", "test_001", "test_002"):
    _save(tmp_path / f"{name}.npz")
  place = tmp_path / "reference.csv"
  place.write_text("test_001,Tumor,IDC,Macro\ntest_002,Normal,None,None\n")
  data = _data(tmp_path, list=str(place))
  train, test = (bags.load(data, split, 0) for split in ("train", "test"))
  assert train.class_names == ("camelyon16: normal", "camelyon16: tumor")
  assert [train.name(i) for i in range(2)] == ["normal_001", "tumor_001"]
  assert test.labels.tolist() == [1, 0]


def test_a_bag_without_an_instance_is_named(folder):
  _save(folder / "train/liver/tumor/none.npz", 0)
  with pytest.raises(
    UserError, match="none has no instance; expected at least"
  ):
    bags.load(_data(folder), "train", 0)


def test_a_bag_of_another_width_is_named(folder):
  _save(folder / "train/liver/tumor/wide.npz", 3, channels=5)
  with pytest.raises(UserError, match=r"wide\.npz has vectors of 5 numbers"):
    bags.load(_data(folder), "train", 0)


def test_a_task_comes_once_and_has_two_classes(folder):
  data = _data(folder, tasks=("liver", "liver"))
  with pytest.raises(UserError, match="task 'liver' twice"):
    bags.load(data, "train", 0)
  _save(folder / "train/liver/other/x.npz")
  with pytest.raises(UserError, match="normal, other, tumor; expected two"):
    bags.load(_data(folder), "train", 0)
  with pytest.raises(UserError, match=r"'brain' .* has the classes none"):
    bags.load(_data(folder, tasks=("brain",)), "train", 0)


@pytest.mark.parametrize(
  ("content", "said"),
  [
    ({"vectors": np.ones((2, 3))}, r"holds vectors \[2, 3\]; expected 'feat"),
    ({"features": np.ones(3)}, r"holds features \[3\]; expected"),
  ],
)
def test_what_is_no_bag_is_said(tmp_path, content, said):
  np.savez(tmp_path / "x.npz", **content)
  with pytest.raises(UserError, match=said):
    bag_files.shapes(tmp_path / "x.npz")


def test_damaged_files_and_wrong_places_are_said(folder, tmp_path):
  (folder / "train/liver/tumor/bad.npz").write_bytes(b"PK\3\4 nothing")
  with pytest.raises(UserError, match=r"bad\.npz is no \.npz of arrays"):
    bags.load(_data(folder), "train", 0)
  (folder / "train/liver/tumor/bad.npz").unlink()
  _save(folder / "train/odd.npz")
  with pytest.raises(UserError, match="does not lie in SPLIT/TASK/CLASS"):
    bags.load(_data(folder), "train", 0)
  with pytest.raises(UserError, match="root is empty"):
    bags.load(_data(""), "train", 0)
  _listed(folder, [("nowhere", "t", "x", "train"), ("odd", "t", "y", "train")])
  with pytest.raises(UserError, match=r"nowhere of .* is not there"):
    bags.load(_data(folder), "train", 0)
  _listed(folder, [("odd", "t")], "name,kind")
  with pytest.raises(UserError, match="has the columns name, kind; expected"):
    bags.load(_data(folder), "train", 0)
