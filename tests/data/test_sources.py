"""What a config opens."""

import pytest

from protojax.data import sources
from protojax.types import UserError


def test_folder_by_config(make_folder, data_config):
  root = make_folder({f"{c}/{i}.png": i for c in "ab" for i in range(10)})
  config = data_config(name="folder", root=root, test_fraction=0.2)
  train, test = sources.load(config, "train"), sources.load(config, "test")
  assert (len(train), len(test)) == (16, 4)
  # The split is the data's, whatever the run's seed...
  assert sources.load(config, "test", seed=5).names == test.names
  # ... unless it is asked to follow it.
  config = data_config(name="folder", root=root, split_seed=-1)
  draws = {sources.load(config, "test", seed=s).names for s in range(5)}
  assert len(draws) > 1


def test_given_folders_have_the_names_of_the_splits(make_folder, data_config):
  root = make_folder(
    {f"{s}/a/{i}.png": i for s in ("x", "y") for i in range(3)}
  )
  config = data_config(name="folder", root=root, train="x", test="y")
  assert sources.load(config, "test").name(0).startswith("y")


def test_bad_splits(data_config):
  with pytest.raises(UserError, match="use train or test"):
    sources.load(data_config(), "val")
  with pytest.raises(UserError, match=r"are both 'train': give two splits"):
    sources.load(data_config(test="train"), "train")


def test_images(make_folder):
  source = sources.images(make_folder({"a.png": 1, "b.png": 1, "c.png": 2}))
  assert len(source) == 3
  assert source[0]["label"] == -1
  # The same pixels have the same digest, another file or not.
  assert source.digest(0).tolist() == source.digest(1).tolist()
  assert source.digest(0).tolist() != source.digest(2).tolist()
