"""Files of ScaleProtoSeg's and ProtoSeg's code, and of DeepLab's."""

from pathlib import Path

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from configs import scaleprotoseg_folder
from protojax import backbones, methods, parallel
from protojax.methods.scaleprotoseg import foreign
from protojax.operations import importing
from protojax.types import UserError
from protojax.weights import reading
from protojax.weights.pytorch import Module

_CLASSES = 3


def _backbone():
  """Tensors of ResNet-50 by DeepLab's names, none of them large."""
  backbone = backbones.load("resnet50_deeplab")
  name = backbone.layouts[-1].foreign_name
  found = {}
  for path, leaf in traverse_util.flatten_dict(
    reading.shapes(backbone.module)
  ).items():
    shape = leaf.shape
    if path[-1] == "kernel":
      shape = (shape[3], shape[2], shape[0], shape[1])
    value = len(found) / 1000 + 0.001
    found["features.base." + name(path)] = np.full(shape, value, np.float32)
  return found


def _tensors(scales, class_of, groups):
  rng = np.random.default_rng(0)
  count = len(class_of)
  found = _backbone()
  for n in range(4):
    found[f"features.base.aspp.c{n}.weight"] = rng.random((8, 2048, 3, 3), "f")
    found[f"features.base.aspp.c{n}.bias"] = rng.random(8, "f")
  found["prototype_vectors"] = rng.random((count, 8, 1, 1), "f")
  found["ones"] = np.ones((count, 8, 1, 1), "f")
  if not groups:
    found["last_layer.weight"] = rng.random((_CLASSES, count), "f")
    return found
  present = np.unique(class_of)
  for n, c in enumerate(present):
    weights = rng.random((groups, (class_of == c).sum()), "f")
    found[f"group_projection.{n}.weight"] = weights / weights.sum(1)[:, None]
  shape = _CLASSES, groups * len(present)
  found["last_layer_group.weight"] = rng.random(shape, "f")
  return found


def _module(tensors, class_of=None, **attributes):
  found = dict(tensors)
  if class_of is not None:
    found["prototype_class_identity"] = np.eye(_CLASSES, dtype="f")[class_of]
  kinds = {} if class_of is None else {"": "segmentation.model.PPNetMultiScale"}
  return Module(kinds, found, attributes)


def _state(module):
  found = foreign.read(module, Path(), 65)
  name, _, variants = foreign.config(found).partition(":")
  assert name == "scaleprotoseg_folder"
  config = scaleprotoseg_folder.get_config(variants).unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  config.data.root = "/gone"
  method = methods.load(config, tuple("abc"))
  template = jax.eval_shape(method.init, parallel.init_key(0))
  return found, method, foreign.state(found, template, method)


@pytest.mark.slow
def test_groups_read_the_prototypes_that_were_left():
  """Of scale 2 of class b one is gone; class c has none at all."""
  class_of = np.array([0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1])
  tensors = _tensors(4, class_of, 3)
  module = _module(tensors, class_of, **{"features.scales": (0.5, 0.75)})
  assert importing.recognised(module)[0] == "scaleprotoseg"
  found, method, state = _state(module)
  assert method.network.sizes == (0.5, 0.75)
  assert (found.scales, found.per_class, found.groups) == (4, 2, 3)
  alive = np.asarray(method.network.alive(state))
  assert alive.sum() == 15
  assert not alive[:, 2].any()
  assert not alive[1, 1, 1]
  # What the head makes of features, as their code says it, by loops.
  z = np.random.default_rng(1).random((1, 2, 2, 4, 8), "f")
  logits = jax.jit(method.network.logits)(jax.tree.map(jnp.asarray, state), z)
  vectors = tensors["prototype_vectors"].reshape(15, 8)
  scale_of = np.repeat(np.arange(4), [4, 3, 4, 4])
  apart = ((z[0][:, :, scale_of] - vectors) ** 2).sum(-1)
  similar = np.log((apart + 1) / (apart + 1e-4))
  units = [
    np.exp(
      similar[..., class_of == c] @ tensors[f"group_projection.{c}.weight"].T
    )
    for c in range(2)
  ]
  expected = np.concatenate(units, -1) @ tensors["last_layer_group.weight"].T
  assert_allclose(logits[0], expected, rtol=1e-4)


@pytest.mark.slow
def test_a_state_dict_of_protosegs_code_has_one_scale():
  class_of = np.repeat(np.arange(3), 10)
  tensors = _tensors(1, class_of, 0)
  found, method, state = _state(_module(tensors))
  assert "none is taken to have been removed" in found.notes[0]
  assert method.network.shape == (1, 3, 10)
  head = state.params["head"]["of_prototypes"]
  assert_array_equal(head.reshape(3, 30), tensors["last_layer.weight"])
  kernel = state.params["aspp"]["kernel_2"]
  theirs = tensors["features.base.aspp.c2.weight"]
  assert_array_equal(kernel[1, 2, 3], theirs[:, 3, 1, 2])
  block = state.params["backbone"]["stage_3_block_5"]
  name = "features.base.layer4.block6.conv3x3.conv.weight"
  assert block["conv_2"]["kernel"][0, 0, 0, 0] == tensors[name][0, 0, 0, 0]


def test_what_a_file_does_not_tell_is_asked_for():
  class_of = np.repeat(np.arange(3), 10)
  tensors = _tensors(1, class_of, 0)
  fewer = {**tensors, "prototype_vectors": np.zeros((29, 8, 1, 1), "f")}
  with pytest.raises(UserError, match=r"29 prototypes .* says which"):
    foreign.read(_module(fewer), Path(), 0)
  shallow = {n: x for n, x in tensors.items() if "layer4.block6" not in n}
  with pytest.raises(UserError, match="layer4 has 5 blocks"):
    foreign.read(_module(shallow), Path(), 0)
  with pytest.raises(UserError, match=r"has scale_head\.x: such"):
    foreign.read(_module({**tensors, "scale_head.x": class_of}), Path(), 0)
  headless = {n: x for n, x in tensors.items() if "last" not in n}
  with pytest.raises(UserError, match=r"no tensor last_layer\.weight or"):
    foreign.read(_module(headless), Path(), 0)
  with pytest.raises(UserError, match="lie in 3 scales; expected 1 or 4"):
    foreign.read(
      _module(tensors, np.tile([0, 1, 2], 3).repeat(1)[:9]), Path(), 0
    )


def test_deeplabs_own_weights_fit_the_backbone():
  """Also with its classifier, under "base." of its wrapper or without."""
  tensors = _backbone()
  backbone = backbones.load("resnet50_deeplab")
  for prefix in ("base.", ""):
    named = {
      prefix + name.removeprefix("features.base."): x
      for name, x in tensors.items()
    }
    named[f"{prefix}aspp.c0.weight"] = np.zeros((21, 2048, 3, 3), "f")
    found = backbone.convert(named)
    kernel = found["params"]["stem"]["kernel"]
    assert kernel.shape == (7, 7, 3, 64)
    theirs = tensors["features.base.layer1.conv1.conv.weight"]
    assert kernel[0, 0, 0, 0] == theirs[0, 0, 0, 0]
