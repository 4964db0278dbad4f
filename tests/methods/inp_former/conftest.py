"""INP-Former, small, and its state before and after the start."""

import jax
import numpy as np
import pytest

from configs import inp_former_textures
from protojax import methods, parallel
from protojax.engine import assets
from protojax.types import State


@pytest.fixture(scope="module")
def method():
  return methods.load(inp_former_textures.get_config("debug"))


@pytest.fixture(scope="module")
def fresh(method):
  """Some weights, on the host; the real initialisers compile for seconds."""
  rng = np.random.default_rng(0)

  def fill(path, x):
    values = rng.normal(size=x.shape, scale=0.1)
    return np.float32(values + (path[-1].key in ("scale", "var")))

  shapes = jax.eval_shape(method.init, parallel.init_key(0))
  backbone = jax.tree_util.tree_map_with_path(
    fill, assets.shapes(method.assets)["backbone"]
  )
  averages = jax.tree.map(np.abs, backbone["batch_stats"])
  width = shapes.statistics["shift"].shape
  return State(
    params=jax.tree_util.tree_map_with_path(fill, shapes.params),
    statistics={
      "shift": np.zeros(width, np.float32),
      "scale": np.ones(width, np.float32),
    },
    buffers={
      "threshold": np.float32(np.inf),
      "false_positive_rate": np.float32(0),
      "normal_images": np.int32(0),
    },
    assets={"backbone": {**backbone, "batch_stats": averages}},
  )


@pytest.fixture(scope="module")
def started(method, fresh):
  """After the stage before training."""
  return method.start(fresh, method.stream("train"))[0]
