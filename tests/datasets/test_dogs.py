"""Stanford Dogs from its archives to crops."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from protojax.datasets import array_records, dogs, photo_records
from protojax.datasets import tfds as tfds_lib
from protojax.types import UserError
from tests.datasets import archive_fakes as fakes


def write(tmp_path, archives, kind="tar"):
  source = fakes.pack_all(tmp_path, archives, kind)
  return photo_records.write(dogs.read, source, str(tmp_path / "out"))


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_crops_labels_and_splits(tmp_path, kind):
  archives = fakes.dogs()
  outcome = write(tmp_path, archives, kind)
  assert outcome.counts == {"train": 2, "test": 2}
  # The largest of two dogs, and the only one.
  boxes = {"train": np.s_[4:15, 4:18], "test": np.s_[2:13, 1:15]}
  for split, box in boxes.items():
    source = tfds_lib.opened("dogs", str(tmp_path / "out"), split, True)
    assert source.class_names == ("n00-Pug", "n01-O'Dog")
    for i in range(len(source)):
      name = source.name(i)
      assert source.class_names[source.labels[i]] == name.split("/")[0]
      whole = fakes.pixels(archives["images"][f"Images/{name}"])
      np.testing.assert_array_equal(source[i]["image"], whole[box])


def test_all_boxes_are_kept(tmp_path):
  write(tmp_path, fakes.dogs())
  folder = array_records.home(tmp_path / "out", "dogs", photo_records.VERSION)
  builder = tfds.builder_from_directory(str(folder))
  encoded = {"image": tfds.decode.SkipDecoding()}
  (first, *_) = builder.as_data_source("train", decoders=encoded)
  np.testing.assert_allclose(
    first["objects"]["bbox"],
    [[0, 0, 3 / 16, 3 / 20], [4 / 16, 4 / 20, 15 / 16, 18 / 20]],
    rtol=1e-6,
  )


@pytest.mark.parametrize(
  ("where", "change", "message"),
  [
    ("lists", {"test_list.mat": None}, "lacks test_list.mat"),
    ("lists", {"test_list.mat": fakes.mat(x=1)}, "not those of Stanford Dogs"),
    (
      "annotation",
      {"Annotation/n00-Pug/n00_1": None},
      "lacks Annotation/n00-Pug/n00_1: get annotation.tar again",
    ),
    ("annotation", {"Annotation/n00-Pug/n00_1": b"<a>"}, "no annotation of"),
    (
      "annotation",
      {"Annotation/n00-Pug/n00_1": fakes.annotation(("x", 2, 3, 4))},
      "no annotation of dogs",
    ),
    (
      "annotation",
      {"Annotation/n00-Pug/n00_1": b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'},
      "it declares a document type",
    ),
    ("images", {"Images/n00-Pug/n00_1.jpg": None}, "lacks Images/n00-Pug"),
  ],
)
def test_what_is_no_stanford_dogs(tmp_path, where, change, message):
  archives = fakes.dogs()
  changed = {**archives[where], **change}
  archives[where] = {n: c for n, c in changed.items() if c is not None}
  with pytest.raises(UserError, match=message):
    write(tmp_path, archives)
  assert not (tmp_path / "out").exists()
