"""Checkpoints of ST-ProtoPNet's code: what is taken over, what is refused."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import st_protopnet_folder
from protojax import methods, parallel
from protojax.methods.st_protopnet import foreign
from protojax.operations import importing
from protojax.types import UserError
from protojax.weights import pytorch
from tests.methods.protopnet import foreign_nets

_EACH, _CHANNELS, _CLASSES, _SIZE = 6, 8, 3, 64
_BRANCHES = ("trivial", "support")
_NUMBERS = {"cropped": ("0", "2"), "full": ("1", "2")}


@functools.cache
def _arrays(variant, backbone="resnet18", blank=True):
  """A state dict of one of its two networks; the backbone of zeros, or not."""
  features = foreign_nets.features(backbone, blank)
  found = {f"features.{k}": x for k, x in features.items()}
  in_turn = foreign_nets.class_map().T
  for b, name in enumerate(_BRANCHES):
    layers = foreign_nets.add_on(
      f"add_on_layers_{name}.", _NUMBERS[variant], inputs=512
    )
    found |= {k: (1 + b) * x for k, x in layers.items()}
    shape = _EACH, _CHANNELS, 1, 1
    found[f"prototype_vectors_{name}"] = foreign_nets.wave(b, *shape)
    noise = foreign_nets.wave(5 + b, _CLASSES, _EACH) / 20
    found[f"last_layer_{name}.weight"] = 1.5 * in_turn - 0.5 + noise
  found["ones"] = np.ones((_EACH, _CHANNELS, 1, 1), "f4")
  return found


def _module(variant="cropped", backbone="resnet18", kinds=None, **changes):
  arrays = {**_arrays(variant, backbone), **changes}
  return pytorch.Module(kinds or {}, arrays, {})


def _read(module, size=_SIZE):
  return foreign.read(module, Path("absent"), size)


def _made(found):
  """Method and state, as the command makes them."""
  variant = foreign.config(found).partition(":")[2]
  config = st_protopnet_folder.get_config(variant).unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  method = methods.load(config.lock(), tuple("abc"))
  template = jax.eval_shape(method.init, parallel.init_key(0))
  return method, foreign.state(found, template, method)


def _expected(arrays, variant, z):
  """Logits of each branch from the backbone's features, by its formulas."""
  logits = []
  for name in _BRANCHES:
    x = np.float64(z)
    for number in _NUMBERS[variant]:
      layer = f"add_on_layers_{name}.{number}"
      x = x @ arrays[f"{layer}.weight"][:, :, 0, 0].T + arrays[f"{layer}.bias"]
      x = np.tanh(x) if variant == "cropped" else x
    p = np.float64(arrays[f"prototype_vectors_{name}"][:, :, 0, 0])
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    if variant == "full":
      x /= np.linalg.norm(x, axis=-1, keepdims=True)
    similarity = (x @ p.T).max((1, 2))
    if variant == "full":
      similarity = np.maximum(similarity, 0)
    logits.append(similarity @ arrays[f"last_layer_{name}.weight"].T)
  return logits


@pytest.mark.parametrize("variant", ["cropped", "full"])
def test_logits_are_those_of_its_formulas(variant):
  """Of each branch, and their sum."""
  first = foreign_nets.wave(7, 64, 3, 3, 3)
  module = _module(variant, "vgg11", **{"features.features.0.weight": first})
  method, state = _made(_read(module))
  z = foreign_nets.noise(3, 2 * 4 * 512).reshape(2, 2, 2, 512).astype("f4")

  @jax.jit
  def forward(state, batch):
    found, _ = method.network.forward(state.params, state, batch)
    return found, method.network.weights(state)

  ours, weights = jax.tree.map(np.asarray, forward(state, {"features": z}))
  expected = _expected(module.tensors, variant, z)
  for b, logits in enumerate(expected):
    own = slice(b * _EACH, (b + 1) * _EACH)
    alone = ours.scores[:, own] @ weights[:, own].T
    np.testing.assert_allclose(alone, logits, atol=1e-5)
  np.testing.assert_allclose(ours.logits, sum(expected), atol=1e-5)
  np.testing.assert_array_equal(
    state.buffers["class_of"], np.tile([0, 0, 1, 1, 2, 2], 2)
  )
  np.testing.assert_array_equal(
    state.params["backbone"]["block_1"]["conv_1"]["kernel"],
    first.transpose(2, 3, 1, 0),
  )


@pytest.mark.parametrize(
  ("variant", "backbone", "expected"),
  [
    ("cropped", "resnet18", ("resnet18", 1)),
    ("full", "resnet18", ("resnet18", 2)),
    ("cropped", "vgg11", ("vgg11", 1)),
    ("full", "vgg11", ("vgg11_stride16", 1)),
  ],
)
def test_the_networks_of_its_two_folders(variant, backbone, expected):
  found = _read(_module(variant, backbone))
  settings = foreign.settings(found)
  keys = "backbone.name", "backbone.upsample"
  assert tuple(settings[key] for key in keys) == expected
  assert foreign.config(found) == f"st_protopnet_folder:{variant}"
  assert any(f"folder {variant}/" in note for note in found.notes)
  assert settings["data.crop"] is False
  cut = any("cut to their bounding boxes" in note for note in found.notes)
  assert cut == (variant == "cropped")
  assert "2 x 6 prototypes of 3 classes" in foreign.described(found)


def test_a_size_that_is_unknown_is_said():
  found = _read(_module(), 0)
  assert found.image_size == 224
  assert any("224 pixels are assumed" in note for note in found.notes)
  assert len(_read(_module()).notes) == 3


def _kinds(*layers):
  kinds = {"": "model.STProtoPNet"}
  for name in _BRANCHES:
    kinds |= {
      f"add_on_layers_{name}.{i}": f"torch.nn.{k}" for i, k in enumerate(layers)
    }
  return kinds


_FULL = _kinds("Upsample", "Conv2d", "Conv2d")


def _upsampling(factor=2.0, mode="bilinear"):
  return {
    f"add_on_layers_{name}.0.{key}": value
    for name in _BRANCHES
    for key, value in (("scale_factor", factor), ("mode", mode))
  }


def _whole(variant, kinds, backbone="resnet18", **attributes):
  arrays = {
    **_arrays(variant, backbone),
    "prototype_class_identity": foreign_nets.class_map(),
  }
  return pytorch.Module(kinds, arrays, {"img_size": 32, **attributes})


def test_modules_that_were_saved_whole():
  cropped = _kinds("Conv2d", "Tanh", "Conv2d", "Tanh")
  found = _read(_whole("cropped", cropped), 0)
  assert found.image_size == 32
  assert len(found.notes) == 2
  _read(_whole("full", _FULL, **_upsampling()))
  _read(_whole("full", _kinds("Identity", "Conv2d", "Conv2d"), "vgg11"))


@pytest.mark.parametrize(
  ("module", "message"),
  [
    (
      lambda: _whole("cropped", _kinds("Conv2d", "ReLU", "Conv2d", "Tanh")),
      "trivial is Conv2d, ReLU, Conv2d, Tanh; Conv2d, Tanh, Conv2d, Tanh can",
    ),
    (
      lambda: _whole("full", _kinds("Identity", "Conv2d", "Conv2d")),
      "with an Upsample for all backbones but a VGG",
    ),
    (
      lambda: _whole("full", _FULL, **_upsampling(4.0)),
      "scale_factor, mode, align_corners = .4.0, 'bilinear', None.; only 2",
    ),
    (lambda: _whole("full", _FULL, **_upsampling(mode="nearest")), "'nearest'"),
    (
      lambda: _module(**{"prototype_vectors_support": np.zeros((6, 8, 1))}),
      r"prototypes \(6, 8, 1\), head \(3, 6\)",
    ),
    (
      lambda: _module(**{"prototype_vectors_trivial": np.zeros((6, 8, 2, 2))}),
      "only prototypes of one cell",
    ),
    (
      lambda: _module(
        **{
          "prototype_vectors_support": np.zeros((3, 8, 1, 1)),
          "last_layer_support.weight": np.eye(3),
        }
      ),
      "its branches differ: .6, 8, 1, 1. and .3, 8, 1, 1.",
    ),
    (
      lambda: _module(**{"last_layer_support.weight": np.ones((3, 6))}),
      "by the largest weight in last_layer_support.weight",
    ),
    (
      lambda: _module(
        **{"last_layer_trivial.weight": np.eye(3)[:, [0, 0, 0, 1, 2, 2]]}
      ),
      "6 prototype_vectors_trivial are not 2 of each of 3 in turn.*pruned",
    ),
    (
      lambda: _module(**{"aspp.weight": np.zeros(1)}),
      "superfluous aspp.weight",
    ),
    (
      lambda: _module(**{"add_on_layers_support.4.weight": np.zeros(1)}),
      r"weights are 0, 2 and 0, 2, 4; those .* 0, 2 \(cropped/\); 1, 2 \(full",
    ),
    (
      lambda: _module(**{"features.layer4.1.conv1.weight": np.zeros(1, "f4")}),
      "resnet17, which is not known",
    ),
  ],
)
def test_what_does_not_fit_is_named(module, message):
  with pytest.raises(UserError, match=message):
    _read(module())


def test_missing_parts_are_named_together():
  rest = {
    k: x
    for k, x in _arrays("cropped").items()
    if not k.startswith(("last_layer", "prototype_vectors_trivial"))
  }
  with pytest.raises(
    UserError, match=r"missing prototype_vectors_trivial, missing last_layer_t"
  ):
    _read(pytorch.Module({}, rest, {}))


def test_add_ons_of_other_widths():
  wide = {
    f"add_on_layers_{name}.{number}.weight": np.zeros(shape, "f4")
    for name in _BRANCHES
    for number, shape in (("0", (4, 512, 1, 1)), ("2", (8, 4, 1, 1)))
  }
  with pytest.raises(UserError, match="add-on has convolutions of shapes"):
    foreign.settings(_read(_module(**wide)))


def test_one_method_recognises_it():
  module = _module()
  assert importing.recognised(module)[0] == "st_protopnet"
  readers = methods.parts("foreign").values()
  assert sum(reader.recognised(module) for reader in readers) == 1
