"""Models of ST-ProtoPNet that several tests share."""

import functools

import jax

from configs import st_protopnet_folder
from protojax import methods, parallel
from tests.conftest import ArraySource

BOTH = 2  # branches


@functools.cache
def made(**changes):
  """The method on images in memory."""
  config = st_protopnet_folder.get_config("debug").unlock()
  small = {"batch_size": 12, "prototypes.channels": 8, "alternate": True}
  config.update_from_flattened_dict({**small, **changes})
  method = methods.load(config.lock())
  method.dataset.sources.update(
    train=ArraySource(36, 32, seed=0), test=ArraySource(18, 32, seed=1)
  )
  return method


@functools.cache
def begun():
  """A random start of both branches, which serves all their settings."""
  return parallel.to_host(jax.jit(made().init)(parallel.init_key(0)))


def fit(method, name):
  return next(s for s in method.stages() if s.name == name)
