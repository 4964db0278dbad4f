"""Networks of FoPro's own code, and encoders of MoPro's."""

from pathlib import Path

import jax
import numpy as np
import pytest

from protojax import configuration, methods, parallel
from protojax.methods.fopro import foreign, starting
from protojax.types import State, UserError
from protojax.weights import pytorch

_K, _D, _H, _Q = 3, 4, 5, 64
_WIDTH = 512 * 512
# Convolutions of a VGG-11, by their place among its layers.
_CONVOLUTIONS = {
  0: (3, 64),
  3: (64, 128),
  6: (128, 256),
  8: (256, 256),
  11: (256, 512),
  13: (512, 512),
  16: (512, 512),
  18: (512, 512),
}


@pytest.fixture(scope="module")
def tensors():
  """A B-CNN on a VGG-11, as their network names its tensors."""
  rng, found = np.random.default_rng(0), {}
  for part, value in (("encoder_q", 1.0), ("encoder_k", 2.0)):
    for place, (i, o) in _CONVOLUTIONS.items():
      name = f"module.{part}.features.{place}"
      found[f"{name}.weight"] = np.full((o, i, 3, 3), value, np.float32)
      found[f"{name}.bias"] = np.full(o, value, np.float32)
  for name, shape in {
    "projection.0.weight": (_D, _WIDTH),
    "projection.0.bias": (_D,),
    "projection_back.0.weight": (_WIDTH, _D),
    "projection_back.0.bias": (_WIDTH,),
    "relation.fc1.weight": (_H, 2 * _D),
    "relation.fc2.weight": (1, _H),
    "classifier.fc.weight": (_K, _WIDTH),
    "classifier_projection.fc.weight": (_K, _D),
    "queue": (_D, _Q),
    "prototypes": (_K, _D),
    "prototypes_visited": (_K,),
    "prototypes_density": (_K,),
    "prototypes_distance": (_K,),
  }.items():
    found[f"module.{name}"] = np.float32(rng.normal(size=shape))
  found["module.queue_ptr"] = np.array([7])
  return found


def _imported(tensors):
  module = pytorch.Module({}, tensors, {})
  assert foreign.recognised(module)
  found = foreign.read(module, Path(), 0)
  config = configuration.read(foreign.config(found)).unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  method = methods.load(config, ("a", "b", "c"))
  template = jax.eval_shape(method.init, parallel.init_key(0))
  return found, foreign.state(found, template, method)


def test_tensors_of_a_bcnn_go_to_their_places(tensors):
  found, state = _imported(tensors)
  assert found.backbone == "vgg11_stride16"
  assert foreign.described(found) == "a FoPro of 3 classes on a B-CNN"
  for tree, value in (
    (state.params["backbone"], 1),
    (state.memory["encoder"]["params"], 2),
  ):
    assert all(np.all(x == value) for x in jax.tree.leaves(tree))
  theirs = {k.removeprefix("module."): x for k, x in tensors.items()}
  p = state.params
  for ours, name in (
    (p["classifier"]["kernel"], "classifier.fc.weight"),
    (p["auxiliary"]["kernel"], "classifier_projection.fc.weight"),
    (p["projector"]["last"]["kernel"], "projection.0.weight"),
    (p["reconstructor"]["last"]["kernel"], "projection_back.0.weight"),
    (state.memory["queue"].rows, "queue"),
  ):
    np.testing.assert_array_equal(ours, theirs[name].T)
  both = np.concatenate([p["relation"]["image"], p["relation"]["prototype"]])
  np.testing.assert_array_equal(both, theirs["relation.fc1.weight"].T)
  prototypes = state.memory["prototypes"]
  np.testing.assert_array_equal(prototypes.vectors, theirs["prototypes"])
  np.testing.assert_array_equal(
    prototypes.temperatures, theirs["prototypes_density"]
  )
  assert state.memory["queue"].place == 7


def test_there_is_nothing_to_push():
  method = methods.load(configuration.read("fopro_folder"), ("a", "b"))
  with pytest.raises(UserError, match="--push: a prototype of FoPro is the"):
    foreign.pushed(method, State({}, {}, {}))


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"module.queue": None}, "there is no tensor queue"),
    ({"module.encoder_k.features.3.bias": None}, "features.3.bias"),
    ({"module.prototypes": np.zeros((4, _D))}, r"has shape \(4, 4\); expected"),
  ],
)
def test_a_checkpoint_that_does_not_fit_is_told(tensors, change, said):
  changed = {**tensors, **change}
  changed = {name: x for name, x in changed.items() if x is not None}
  with pytest.raises(UserError, match=said):
    _imported(changed)


def test_the_encoder_of_mopro_is_found():
  names = (
    "encoder_q.conv1.weight",
    "encoder_q.fc1.bias",
    "encoder_q.classifier.weight",
    "encoder_k.conv1.weight",
    "prototypes",
  )
  found = starting.of_encoder({name: np.zeros(1) for name in names})
  assert list(found) == ["conv1.weight"]
  assert not starting.of_encoder({"conv1.weight": np.zeros(1)})
