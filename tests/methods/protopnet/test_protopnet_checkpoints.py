"""Checkpoints of ProtoPNet's own code: what is taken over, what is refused."""

import numpy as np
import pytest

from protojax.methods.protopnet import foreign_state, own_checkpoint
from protojax.operations import importing
from protojax.types import UserError
from protojax.weights import pytorch, reading
from tests.methods.protopnet import foreign_nets
from tests.weights import foreign_files


@pytest.fixture(scope="module")
def tensors():
  """A state dict whose head is as at the start: 1, and -0.5 for others."""
  head = 1.5 * foreign_nets.class_map().T - 0.5
  return {**foreign_nets.protopnet(), "last_layer.weight": head}


def _state_dict(tensors, **changes):
  return pytorch.Module({}, {**tensors, **changes}, {})


def test_a_pickled_module(tmp_path, torch):
  net, storages = foreign_nets.pickled_protopnet()
  path = tmp_path / "10push0.7812.pth"
  path.write_bytes(foreign_files.zipped(net, storages))
  found = own_checkpoint.read(reading.read_module(path))
  assert found.backbone == "resnet18"
  assert (found.similarity, found.activation) == ("log", "sigmoid")
  assert found.image_size == foreign_nets.SIZE
  assert not found.notes
  np.testing.assert_array_equal(found.class_of, [0, 0, 1, 1, 2, 2])
  assert [w.shape[:2] for w, _ in found.add_on] == [(8, 512), (8, 8)]
  settings = foreign_state.settings(found)
  assert settings["prototypes.add_on"] == "regular"
  assert settings["prototypes.per_class"] == 2


def test_a_state_dict_says_what_it_does_not_hold(tensors):
  found = own_checkpoint.read(_state_dict(tensors))
  np.testing.assert_array_equal(found.class_of, [0, 0, 1, 1, 2, 2])
  assert len(found.notes) == 2
  assert "2 of each class in turn" in found.notes[0]
  assert "the head agrees" in found.notes[0]
  assert found.image_size == 224
  assert own_checkpoint.read(_state_dict(tensors), 96).image_size == 96


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net."])
def test_what_wrappers_put_before_the_names(tensors, prefix):
  named = {prefix + name: x for name, x in tensors.items()}
  module = pytorch.Module({}, named, {})
  assert own_checkpoint.recognised(module)
  assert own_checkpoint.read(module).backbone == "resnet18"


def test_a_pruned_state_dict_goes_by_the_head(tensors):
  kept = [0, 2, 3, 5]
  pruned = {
    "prototype_vectors": tensors["prototype_vectors"][kept],
    "last_layer.weight": np.eye(3, dtype="f4")[:, [2, 0, 1, 1]],
  }
  found = own_checkpoint.read(_state_dict(tensors, **pruned))
  np.testing.assert_array_equal(found.class_of, [2, 0, 1, 1])
  assert "speaks for the most" in found.notes[0]


def _head(classes, own=1.0, others=-0.5):
  """A head in which each prototype speaks for one class."""
  return np.where(np.arange(3)[:, None] == classes, own, others)


def test_a_pruned_state_dict_may_still_divide_by_its_classes(tensors):
  """Six prototypes of three classes, of which the first has kept the most."""
  left = [0, 0, 0, 1, 2, 2]
  trained = _head(np.array(left))
  trained[1, 0] = 0.45
  vague = _head(np.array(left))
  vague[2, 3] = 0.8  # and the others are in order
  for head in trained, vague:
    found = own_checkpoint.read(
      _state_dict(tensors, **{"last_layer.weight": head})
    )
    np.testing.assert_array_equal(found.class_of, left)
    assert "some were pruned" in found.notes[0]


def test_prototypes_whose_weights_say_nothing_stay_in_turn(tensors):
  head = _head(np.array([0, 0, 1, 1, 2, 2]))
  head[:, 1] = [0.4, 0.5, 0.1]
  head[:, 4] = 0
  found = own_checkpoint.read(
    _state_dict(tensors, **{"last_layer.weight": head})
  )
  np.testing.assert_array_equal(found.class_of, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
  "head",
  [
    np.ones((3, 6)),
    np.zeros((3, 6)),
    -_head(np.array([0, 0, 1, 1, 2, 2])),
    np.array([[1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]]),
  ],
)
def test_a_head_that_does_not_decide_is_refused_with_both_readings(
  tensors, head
):
  changes = {"last_layer.weight": head.astype("f4")}
  with pytest.raises(
    UserError,
    match=r"in turn, 2 of each class.* largest weight .* differ for \d.*"
    r"class \d or \d.* Import the module .* prototype_class_identity",
  ):
    own_checkpoint.read(_state_dict(tensors, **changes))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"proto_presence": np.zeros(1)}, "of ProtoPool"),
    ({"extra.weight": np.zeros(1)}, "superfluous extra.weight"),
    ({"last_layer.weight": np.zeros((3, 5))}, r"head \(3, 5\)"),
    ({"last_layer.weight": np.zeros(5)}, r"head \(5,\)"),
    ({"last_layer.weight": np.zeros((0, 6))}, r"head \(0, 6\)"),
    ({"prototype_vectors": np.zeros((6, 8))}, r"prototypes \(6, 8\)"),
    ({"prototype_class_identity": np.zeros((3, 6))}, r"classes \(3, 6\)"),
    ({"features.layer4.1.conv1.weight": np.zeros(1)}, "resnet17, which"),
  ],
)
def test_what_does_not_fit_is_named(tensors, changes, message):
  with pytest.raises(UserError, match=message):
    own_checkpoint.read(_state_dict(tensors, **changes))


def test_missing_parts_are_named_together():
  with pytest.raises(UserError) as error:
    own_checkpoint.read(pytorch.Module({}, {"features.x": np.zeros(1)}, {}))
  assert "missing prototype_vectors, missing last_layer.w" in str(error.value)


def test_another_backbone_is_named_by_its_tensors(tensors):
  others = {
    name.replace("features.", "features.blocks."): x
    for name, x in tensors.items()
  }
  with pytest.raises(UserError, match=r"no ResNet.*blocks\.bn1\.bias"):
    own_checkpoint.read(_state_dict(others))


@pytest.mark.parametrize(
  ("kinds", "attributes", "message"),
  [
    ({}, {"img_size": "big"}, "img_size is 'big'"),
    ({}, {"img_size": (224, 224)}, r"img_size is \(224"),
    ({}, {"img_size": 10**9}, "img_size is 1000000000, not"),
    ({}, {"prototype_activation_function": "sin"}, "is sin; 'log'"),
    ({"": "model.PPNet"}, {}, "is a function of its own"),
    (
      {"add_on_layers.0": "n.Conv2d", "add_on_layers.1": "n.Tanh"},
      {"prototype_activation_function": "log"},
      "add-on is Conv2d, Tanh",
    ),
  ],
)
def test_settings_that_we_do_not_have(tensors, kinds, attributes, message):
  with pytest.raises(UserError, match=message):
    own_checkpoint.read(pytorch.Module(kinds, tensors, attributes))


def test_an_add_on_without_an_end(tensors):
  kinds = {
    "": "model.PPNet",
    "add_on_layers.first": "n.Conv2d",
    "add_on_layers.relu": "n.ReLU",
    "add_on_layers.last": "n.Conv2d",
  }
  attributes = {"prototype_activation_function": "linear"}
  found = own_checkpoint.read(pytorch.Module(kinds, tensors, attributes))
  assert (found.activation, found.similarity) == ("none", "linear")


@pytest.mark.parametrize(
  "shapes",
  [[(8, 512, 3, 3)], [(16, 512, 1, 1), (4, 16, 1, 1), (8, 4, 1, 1)], []],
)
def test_another_add_on(tensors, shapes):
  layers = {
    f"add_on_layers.{i}.weight": np.zeros(shape)
    for i, shape in enumerate(shapes)
  }
  rest = {k: x for k, x in tensors.items() if not k.startswith("add_on")}
  found = own_checkpoint.read(_state_dict({**rest, **layers}))
  with pytest.raises(UserError, match="regular or bottleneck or single add-on"):
    foreign_state.settings(found)


def test_a_prefix_that_some_names_lack_leads_the_message(tensors):
  named = {f"model.{name}": x for name, x in tensors.items()}
  module = pytorch.Module({}, {**named, "loss.weight": np.zeros(1)}, {})
  with pytest.raises(
    UserError, match=r"^\d+ of \d+ names begin with 'model\.', .* \(loss\.weig"
  ):
    importing.recognised(module)
