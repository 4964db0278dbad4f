"""A run is taken up from its folder alone."""

import json

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


@pytest.mark.parametrize(
  ("changes", "found"),
  [
    ({"method": "none"}, "config.method is 'none'"),
    ({"method": 3}, r"config\.json holds 3 at method; expected a text"),
    ({"method": None}, "holds None at method"),
    ({"data": []}, r"holds \[\] at data; expected an object"),
    ({"data": {"root": 3}}, r"holds 3 at data\.root; expected a text"),
    ({"backbone": "x"}, "holds 'x' at backbone; expected an object"),
    ({"backbone": {"name": "x"}}, r"describe a run of protopnet \(Attr"),
    ({"prototypes": 3}, "holds 3 at prototypes; expected an object"),
    ({"prototypes": {}}, r"config\.json and classes\.json do not describe a r"),
    ({"batch_size": "x"}, "config.batch_size is 'x'"),
    ({"a.b": 3}, "has a key that cannot be one of a config"),
  ],
)
def test_a_config_that_was_changed_is_one_line(tmp_path, changes, found):
  config = json.loads(protopnet_folder.get_config("debug").to_json())
  workdir.claim_classes(tmp_path, ("cat", "dog"))
  path = tmp_path / "config.json"
  path.write_text(json.dumps({**config, **changes}))
  with pytest.raises(UserError, match=found) as error:
    loading.load(tmp_path)
  assert str(tmp_path) in str(error.value)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("{}", r"holds {}; expected a list"),
    ('["a", 3]', r"holds 3 at \[1\]; expected a text"),
    ('["a", "a"]', "names 'a' twice"),
    ("[]", "names no class"),
    ("[" * 100_000, "is nested too deep"),
  ],
)
def test_class_names_that_were_changed_are_one_line(tmp_path, text, found):
  (tmp_path / "classes.json").write_text(text)
  with pytest.raises(UserError, match=rf"classes\.json .*{found}.*: restore"):
    workdir.class_names(tmp_path)


def test_mistakes_in_a_method_of_ones_own_are_shown(tmp_path, monkeypatch):
  (tmp_path / "mine_of_tests").mkdir()
  code = "class Method:\n  def __init__(self, *a): raise KeyError('x')\n"
  (tmp_path / "mine_of_tests" / "method.py").write_text(code)
  monkeypatch.syspath_prepend(str(tmp_path))
  config = json.loads(protopnet_folder.get_config("debug").to_json())
  config["method"] = "mine_of_tests.method"
  (tmp_path / "config.json").write_text(json.dumps(config))
  with pytest.raises(KeyError):
    loading.load(tmp_path)
