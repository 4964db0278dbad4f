"""A method on images in memory, small enough to run every stage."""

import functools

import pytest

from configs import protopnet_folder
from protojax import methods
from tests import starts
from tests.conftest import ArraySource


@pytest.fixture(scope="session")
def make_method():
  """`make_method(**{"joint.train_norm": True})`: the debug config, changed."""
  made = {
    "train": ArraySource(36, 32, seed=0),
    "test": ArraySource(18, 32, seed=1),
  }

  @functools.cache
  def make(**changes):
    config = protopnet_folder.get_config("debug").unlock()
    config.backbone.name = "tests.toys.twoconv"
    config.update_from_flattened_dict({"batch_size": 12, **changes})
    method = methods.load(config.lock())
    method.dataset.sources.update(made)
    return method

  return make


@pytest.fixture(scope="session")
def make_state():
  """`make_state(method)`: its random start on the host."""
  return functools.cache(lambda method: starts.begun(method.init))
