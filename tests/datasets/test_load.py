"""Opening the data set of a config: splits, validation, bad settings."""

import numpy as np
import pytest

from protojax.data import stream as stream_lib
from protojax.datasets import dataset, files
from protojax.types import UserError


def test_folder_by_config(make_folder, data_config):
  root = make_folder({f"{c}/{i}.png": i for c in "ab" for i in range(10)})
  config = data_config(name="folder", root=root, test_fraction=0.2)
  train, test = (
    dataset.open_split(config, "train"),
    dataset.open_split(config, "test"),
  )
  assert (len(train), len(test)) == (16, 4)
  # The split is the data's, whatever the run's seed...
  assert dataset.open_split(config, "test", seed=5).names == test.names
  # ... unless it is asked to follow it.
  config = data_config(name="folder", root=root, split_seed=-1)
  draws = {dataset.open_split(config, "test", seed=s).names for s in range(5)}
  assert len(draws) > 1


def test_given_folders_have_the_names_of_the_splits(make_folder, data_config):
  root = make_folder(
    {f"{s}/{c}/{i}.png": i for s in "xy" for c in "ab" for i in range(3)}
  )
  config = data_config(name="folder", root=root, train="x", test="y")
  assert dataset.open_split(config, "test").name(0).startswith("y")


def test_bad_splits(data_config):
  with pytest.raises(UserError, match="use one of train, validation"):
    dataset.open_split(data_config(), "val")
  with pytest.raises(UserError, match=r"are both 'train': give two splits"):
    dataset.open_split(data_config(test="train"), "train")


def test_validation_images_are_held_out_of_each_class(make_folder, data_config):
  contents = {
    f"{split}/{c}/{i}.png": 9 * i + ord(c)
    for split, counts in (("train", {"a": 10, "b": 5, "c": 1}), ("test", None))
    for c, count in (counts or dict.fromkeys("abc", 2)).items()
    for i in range(count)
  }
  root = make_folder(contents)
  whole = dataset.open_split(data_config(name="folder", root=root), "train")
  config = data_config(name="folder", root=root, validation_fraction=0.2)
  sources = [
    dataset.open_split(config, s) for s in ("train", "validation", "test")
  ]
  counts = [np.bincount(s.labels, minlength=3).tolist() for s in sources]
  assert counts == [[8, 4, 1], [2, 1, 0], [2, 2, 2]]
  names = [[s.name(i) for i in range(len(s))] for s in sources[:2]]
  assert sorted(names[0] + names[1]) == sorted(whole.names)
  for source in sources[:2]:
    assert source.class_names == whole.class_names
    for i in range(len(source)):
      item, row = source[i], whole.names.index(source.name(i))
      assert item["label"] == source.labels[i] == whole.labels[row]
      np.testing.assert_array_equal(item["image"], whole[row]["image"])
  again = [
    dataset.open_split(config, "validation", seed).rows for seed in (1, 2)
  ]
  # The split is the data's, whatever the run's seed.
  np.testing.assert_array_equal(again[0], again[1])


def test_bad_shares_to_validate_on(make_folder, data_config):
  root = make_folder(
    {f"{s}/{c}/0.png": 1 for s in ("train", "test") for c in "ab"}
  )
  for fraction, message in (
    (1.5, "leaves a split empty"),
    (0.5, "no class has two"),
  ):
    config = data_config(name="folder", root=root, validation_fraction=fraction)
    with pytest.raises(UserError, match=message):
      dataset.open_split(config, "train")
  with pytest.raises(UserError, match=r"validation_fraction=0\.0 leaves"):
    dataset.open_split(data_config(name="folder", root=root), "validation")


def test_a_data_set_passes_on_what_a_stream_draws(make_folder, data_config):
  root = make_folder({f"{c}/{i}.png": i for c in "ab" for i in range(10)})
  config = data_config(name="folder", root=root, image_size=8)
  opened = dataset.Dataset(config, 0, 4)
  given = np.arange(12) % 2
  stream = opened.shuffled(
    rows=[1, 5, 7, 8], weights=given, labels=given, views={"a": "flip"}
  )
  (batch,) = stream.batches(0, 1)
  assert set(batch["index"]) <= {1, 5, 7}
  assert (batch["label"] == 1).all()
  assert [view.name for view in stream.views] == ["a"]


def test_streams_of_one_data_set_have_orders_of_their_own(
  make_folder, data_config
):
  root = make_folder({f"{c}/{i}.png": i for c in "ab" for i in range(20)})
  config = data_config(name="folder", root=root, image_size=8)

  def order(name, seed=3):
    stream = dataset.Dataset(config, seed, 4).shuffled(order=name)
    batches = stream.batches(0, 6, read_images=False)
    return tuple(np.concatenate([batch["index"] for batch in batches]))

  assert order("source") == order("source")
  found = {order(*of) for of in [("",), ("source",), ("target",), ("", 4)]}
  found |= {order("source", 4), order("target", 4)}
  assert len(found) == 6
  # Without a name, the order is that of the seed.
  plain = stream_lib.shuffled(
    dataset.Dataset(config, 3, 4).source("train"), 8, 4, 3
  )
  batches = plain.batches(0, 6, read_images=False)
  assert order("") == tuple(np.concatenate([b["index"] for b in batches]))


def test_a_data_set_without_boxes(data_config):
  with pytest.raises(UserError, match="'photos' has no bounding boxes"):
    dataset.open_split(data_config(crop=True), "train")


def test_images(make_folder):
  source = files.images(make_folder({"a.png": 1, "b.png": 1, "c.png": 2}))
  assert len(source) == 3
  assert source[0]["label"] == -1
  first, same, other = (source[i]["image"] for i in range(3))
  np.testing.assert_array_equal(first, same)
  assert (first != other).any()
