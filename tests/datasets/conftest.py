"""Folders of small images, and a cache that is not the user's."""

import ml_collections
import numpy as np
from PIL import Image
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
  folder = tmp_path_factory.mktemp("cache")
  monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
  return folder / "protojax"


def written(root, contents):
  """Writes {"cat/1.png": seed or array or bytes} below a folder."""
  root.mkdir(exist_ok=True)
  for name, content in contents.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
      path.write_bytes(content)
      continue
    if isinstance(content, int):
      draw = np.random.default_rng(content)
      content = draw.integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(content).save(path)
  return str(root)


@pytest.fixture
def make_folder(tmp_path):
  """Function: contents as of `written` -> folder of the files."""

  def make(contents):
    return written(tmp_path / "root", contents)

  return make


@pytest.fixture
def data_config():
  """Function: a data config with some keys changed."""

  def make(**changes):
    config = ml_collections.ConfigDict(
      {
        "name": "photos",
        "root": "",
        "train": "train",
        "test": "test",
        "test_fraction": 0.4,
        "validation_fraction": 0.0,
        "split_seed": 0,
        "image_size": 16,
        "crop": False,
      }
    )
    config.update(changes)
    return config.lock()

  return make
