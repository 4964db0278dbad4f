"""Stanford Cars from its archives to crops."""

import numpy as np
import pytest

from protojax.datasets import cars196, photo_records
from protojax.datasets import tfds as tfds_lib
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes


def write(tmp_path, archives, kind="tgz"):
  source = fakes.pack_all(tmp_path, archives, kind)
  return photo_records.write(cars196.read, source, str(tmp_path / "out"))


@pytest.mark.parametrize("kind", ["folder", "tgz"])
def test_crops_labels_and_splits(tmp_path, kind):
  archives = fakes.cars()
  outcome = write(tmp_path, archives, kind)
  assert outcome.counts == {"train": 3, "test": 2}
  for split in ("train", "test"):
    source = tfds_lib.opened("cars", str(tmp_path / "out"), split, True)
    assert source.class_names == ("AM General Hummer SUV 2000", "Aston's é")
    for i in range(len(source)):
      name = source.name(i)
      number = int(name[-5 - 4 : -4])
      assert source.labels[i] == (number - 1) % 2
      whole = fakes.pixels(archives[f"cars_{split}"][name])
      # x1 = number, y1 = 2, x2 = 12, y2 = 14, from one and with the last.
      np.testing.assert_array_equal(
        source[i]["image"], whole[1:14, number - 1 : 12]
      )


def test_a_folder_in_a_folder_of_the_same_name(tmp_path):
  archives = fakes.cars()
  archives["cars_train"] = {
    f"cars_train/{n}": c for n, c in archives["cars_train"].items()
  }
  assert write(tmp_path, archives).counts == {"train": 3, "test": 2}


@pytest.mark.parametrize(
  ("where", "change", "message"),
  [
    (
      "labels",
      {"cars_test_annos_withlabels.mat": None},
      "lacks cars_test_annos_withlabels.mat, a list",
    ),
    ("car_devkit", {"devkit/cars_meta.mat": b"junk"}, "cars_meta.mat in .* is"),
    (
      "car_devkit",
      {"devkit/cars_meta.mat": fakes.mat(class_names=np.array(["x"]))},
      "not those of Stanford Cars .*a class beyond the 1",
    ),
    (
      "car_devkit",
      {"devkit/cars_train_annos.mat": fakes.mat(other=1)},
      "not those of Stanford Cars",
    ),
    (
      "cars_train",
      {"cars_train/00002.jpg": None},
      "lacks cars_train/00002.jpg of the 5 images",
    ),
  ],
)
def test_what_is_no_stanford_cars(tmp_path, where, change, message):
  archives = fakes.cars()
  changed = {**archives[where], **change}
  archives[where] = {n: c for n, c in changed.items() if c is not None}
  with pytest.raises(UserError, match=message):
    write(tmp_path, archives)
  assert not (tmp_path / "out").exists()
