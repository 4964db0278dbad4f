"""Checkpoints of CaBRNet: a state dict, and YAML for what has no tensor."""

import numpy as np
import pytest

from protojax.methods.protopnet import cabrnet, foreign_state
from protojax.types import UserError
from protojax.weights.yaml_keys import Keys
from tests.methods.protopnet import foreign_nets

_CONV = {"type": "Conv2d", "params": {"out_channels": 8}}
_ADD_ON = {
  "init_mode": "PROTOPNET",
  "conv1": _CONV,
  "act1": {"type": "ReLU"},
  "conv2": _CONV,
  "act2": {"type": "Sigmoid"},
}


def arch(add_on=_ADD_ON, backbone=(), similarity="ProtoPNetSimilarity", **more):
  """What model_arch.yml holds."""
  return {
    "top_arch": {
      "module": "cabrnet.archs.protopnet.model",
      "name": "ProtoPNet",
    },
    "extractor": {
      "backbone": {"arch": "resnet18", "layer": "layer4", **dict(backbone)},
      "add_on": add_on,
    },
    "similarity": {"name": similarity},
    "classifier": {"name": "ProtoPNetClassifier"},
    **more,
  }


@pytest.fixture(scope="module")
def tensors():
  return {
    **{f"extractor.convnet.{k}": x for k, x in foreign_nets.features().items()},
    **foreign_nets.add_on("extractor.add_on.", ("conv1", "conv2")),
    "classifier.prototypes": foreign_nets.wave(1, 6, 8, 1, 1),
    "classifier.proto_class_map": foreign_nets.class_map(),
    "classifier.last_layer.weight": foreign_nets.wave(2, 3, 6),
  }


def _read(tensors, tree=None, **changes):
  return cabrnet.read({**tensors, **changes}, Keys(tree or arch()), 224)


def test_tensors_and_yaml_together(tensors):
  assert cabrnet.recognised(tensors)
  assert not cabrnet.recognised(foreign_nets.add_on())
  found = _read(tensors)
  assert found.backbone == "resnet18"
  assert (found.similarity, found.activation) == ("log", "sigmoid")
  np.testing.assert_array_equal(found.class_of, [0, 0, 1, 1, 2, 2])
  assert found.alive.all()
  assert not found.notes
  ones = {
    "classifier.similarity_layer._summation_kernel": np.ones((6, 8, 1, 1))
  }
  assert _read(tensors, **ones).backbone == "resnet18"


def test_both_places_of_the_add_on(tensors):
  new = arch(similarity="CosineSimilarity")
  add_on = new["extractor"].pop("add_on")
  del new["extractor"]["backbone"]["layer"]
  new["extractor"]["main"] = {"source_layer": "layer4", "add_on": add_on}
  found = _read(tensors, new)
  assert (found.similarity, found.activation) == ("cosine", "sigmoid")


def test_one_convolution_without_bias_or_end(tensors):
  rest = {k: x for k, x in tensors.items() if ".add_on." not in k}
  weight = {"extractor.add_on.c.weight": np.ones((8, 512, 1, 1), "f4")}
  found = _read(rest, arch({"c": _CONV}), **weight)
  assert found.activation == "none"
  assert foreign_state.settings(found)["prototypes.add_on"] == "single"
  np.testing.assert_array_equal(found.add_on[0][1], np.zeros(8))


def test_pruned_prototypes_keep_their_numbers(tensors):
  kept = [0, 2, 3, 4]
  found = _read(
    tensors,
    **{
      "classifier.prototypes": tensors["classifier.prototypes"][kept],
      "classifier.proto_class_map": foreign_nets.class_map()[kept],
      "classifier.last_layer.weight": tensors["classifier.last_layer.weight"][
        :, kept
      ],
    },
  )
  np.testing.assert_array_equal(found.class_of, [0, 1, 1, 2])
  assert found.per_class == 2


def test_disabled_prototypes_are_dead_if_nothing_depends_on_them(tensors):
  classes, head = (
    tensors[f"classifier.{name}"].copy()
    for name in ("proto_class_map", "last_layer.weight")
  )
  classes[[1, 4]] = 0
  head[:, 1] = 0
  head[:, 4] = [0.1, 0.9, 0.2]
  changed = {
    "classifier.proto_class_map": classes,
    "classifier.last_layer.weight": head,
  }
  found = _read(tensors, **changed)
  np.testing.assert_array_equal(found.alive, [1, 0, 1, 1, 1, 1])
  np.testing.assert_array_equal(found.class_of, [0, 0, 1, 1, 1, 2])
  assert found.notes[0].startswith("1 disabled prototypes have weights")


@pytest.mark.parametrize(
  ("tree", "message"),
  [
    (arch(top_arch={"name": "PIPNet"}), "top_arch.name is 'PIPNet'"),
    (arch(classifier={"name": "Tree"}), "classifier.name is 'Tree'"),
    (arch(backbone={"layer": "layer3"}), "after its layer 'layer3'; our"),
    (arch(backbone={"layer": None}), "layer 'None'"),
    (arch(backbone={"params": {"groups": 2}}), r"backbone\.params\.groups"),
    (
      arch(backbone={"postprocess": {"stride_divider": {"ratio": 2}}}),
      "stride_divider: a changed backbone",
    ),
    (arch(similarity="ProtoTreeSimilarity"), "'ProtoTreeSimilarity'"),
    (arch(similarity=["x"]), r"\['x'\]"),
    (
      arch()
      | {
        "similarity": {
          "name": "ProtoPNetSimilarity",
          "params": {"stability_factor": 0.1},
        }
      },
      "with stability_factor 0.1",
    ),
    (arch({"c": _CONV, "t": {"type": "Tanh"}}), "has Conv2d, Tanh"),
    (arch({"c": {"type": ["x"]}}), r"has \['x'\]"),
    (arch(None), "has no layers"),
  ],
)
def test_what_we_do_not_have_is_named(tensors, tree, message):
  with pytest.raises(UserError, match=message):
    _read(tensors, tree)


def test_names_that_do_not_belong(tensors):
  other = {k: x for k, x in tensors.items() if "prototypes" not in k}
  with pytest.raises(UserError, match=r"missing classifier\.prototypes, super"):
    _read(other, **{"classifier.tree.x": np.zeros(1)})
