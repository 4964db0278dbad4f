"""A run is taken up from its folder alone."""

import jax
import numpy as np
import pytest

from configs import protopnet_folder
from protojax import loading, methods, parallel
from protojax.engine import workdir
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.methods import base
from protojax.types import UserError


def test_a_run_without_its_data_set(tmp_path):
  config = protopnet_folder.get_config("debug").unlock()
  config.data.update({"name": "folder", "root": "/gone"})
  names = ("cat", "dog")
  shapes = jax.eval_shape(
    methods.load(config.lock(), names).init, parallel.init_key(0)
  )
  rng = np.random.default_rng(0)
  state = jax.tree.map(
    lambda x: rng.integers(0, 2, x.shape).astype(x.dtype), shapes
  )
  workdir.claim(tmp_path, config, methods.later)
  workdir.claim_classes(tmp_path, names)
  with pytest.raises(UserError, match="no checkpoint"):
    loading.load(tmp_path)
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(Progress(), state, {})
  checkpoints.close()

  method, found, of_run = loading.load(tmp_path)
  assert base.needed(method, "classifies").class_names == names
  jax.tree.map(np.testing.assert_array_equal, found, state)
  assert of_run.data.root == "/gone"


def test_a_method_without_images_has_no_image_size():
  config = protopnet_folder.get_config("debug").unlock()
  assert loading.image_size(config) == config.data.image_size
  del config.data.image_size
  with pytest.raises(UserError, match="protopnet, takes no images"):
    loading.image_size(config)


def test_a_method_need_not_say_its_batch_size():
  config = protopnet_folder.get_config("debug").unlock()
  config.batch_size = 7
  assert loading.batch_size(config, 100) == 7
  assert loading.batch_size(config, 3) == 3
  del config.batch_size
  assert loading.batch_size(config, 100) == 32
  assert loading.batch_size(config, 3) == 3


def test_a_folder_without_a_run(tmp_path):
  with pytest.raises(UserError, match="holds no run"):
    loading.load(tmp_path)
