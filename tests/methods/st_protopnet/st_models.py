"""Models of ST-ProtoPNet that several tests share."""

import functools

from configs import st_protopnet_folder
from protojax import methods
from tests import starts
from tests.conftest import ArraySource

BOTH = 2  # branches


@functools.cache
def made(**changes):
  """The method on images in memory."""
  config = st_protopnet_folder.get_config("debug").unlock()
  small = {
    "backbone.name": "tests.toys.twoconv",
    "batch_size": 12,
    "prototypes.channels": 8,
    "alternate": True,
  }
  config.update_from_flattened_dict({**small, **changes})
  method = methods.load(config.lock())
  method.dataset.sources.update(
    train=ArraySource(36, 32, seed=0), test=ArraySource(18, 32, seed=1)
  )
  return method


@functools.cache
def begun():
  """A random start of both branches, which serves all their settings."""
  return starts.begun(made().init)


def fit(method, name):
  return next(s for s in method.stages() if s.name == name)
