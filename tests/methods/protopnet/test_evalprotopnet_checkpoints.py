"""Checkpoints of EvalProtoPNet: what is taken over, what is refused."""

import argparse

import jax
import numpy as np
import pytest

from configs import protopnet_folder
from protojax import methods, parallel
from protojax.methods.protopnet import evalprotopnet, foreign
from protojax.prototypes import push
from protojax.prototypes.bank import bank_of
from protojax.types import UserError
from protojax.weights import pytorch, reading
from tests import starts
from tests.conftest import ArraySource
from tests.methods.protopnet import foreign_nets
from tests.weights import foreign_files

_COUNT, _CHANNELS, _CLASSES = 6, 8, 3
_BESIDE = {"args.nb_classes": _CLASSES, "args.input_size": 64}


def _arrays():
  """A state dict: prototypes of any length, one convolution, a sigmoid.

  The backbone, of which no number is compared, is zeros.
  """
  shape = _COUNT, _CHANNELS, 1, 1
  features = foreign_nets.features("vgg11", blank=True)
  return {
    **{f"features.{k}": x for k, x in features.items()},
    **foreign_nets.add_on(names=("0",)),
    "prototype_vectors": 2 * foreign_nets.wave(1, *shape),
    "ones": np.ones(shape, "f4"),
    "activation_weight": foreign_nets.wave(2, _COUNT),
  }


@pytest.fixture(scope="module")
def arrays():
  return _arrays()


def _read(arrays, beside=None, size=0, **changes):
  module = pytorch.Module(
    {}, {**arrays, **changes}, _BESIDE if beside is None else beside
  )
  return evalprotopnet.read(module, size)


def _thin(arrays):
  """With a number in place of each tensor of the backbone."""
  return {
    k: np.zeros((1,) * x.ndim, "f4") if k.startswith("features.") else x
    for k, x in arrays.items()
  }


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_logits_are_those_of_its_formulas(arrays):
  """In loops: each class's weighted sum over its own prototypes' lengths."""
  found = _read(arrays)
  config = protopnet_folder.get_config("paper").unlock()
  config.update_from_flattened_dict(foreign.settings(found))
  assert config.backbone.name == "vgg11"
  assert config.data.image_size == 64
  method = methods.load(config.lock(), tuple("abc"))
  template = jax.eval_shape(method.init, parallel.init_key(0))
  state = foreign.state(found, template, method)

  z = foreign_nets.noise(3, 2 * 4 * 512).reshape(2, 2, 2, 512).astype("f4")
  ours, _ = jax.jit(
    lambda state, batch: method.network.forward(state.params, state, batch)
  )(state, {"features": z})
  scores, ours = np.asarray(ours.scores), np.asarray(ours.logits)

  kernel = np.float64(arrays["add_on_layers.0.weight"][:, :, 0, 0])
  embedded = _sigmoid(z @ kernel.T + arrays["add_on_layers.0.bias"])
  logits = np.zeros((2, _CLASSES))
  for j, prototype in enumerate(arrays["prototype_vectors"][:, :, 0, 0]):
    length = np.sqrt(np.sum(np.float64(prototype) ** 2))
    similarity = (embedded @ prototype / length).max(axis=(1, 2))
    np.testing.assert_allclose(scores[:, j], similarity, rtol=1e-5)
    own = arrays["activation_weight"][j // 2 * 2 : j // 2 * 2 + 2]
    share = np.exp(np.float64(own[j % 2])) / np.exp(np.float64(own)).sum()
    logits[:, j // 2] += 2 * share * similarity
  np.testing.assert_allclose(ours, logits, rtol=1e-5)


def test_what_its_script_saves_tells_classes_and_pixels(tmp_path, arrays):
  """{"model", "epoch", "args"}, with a Namespace that is never built."""
  with foreign_files.stand_ins():
    tensors, storages = foreign_files.state_dict(_thin(arrays))
    args = argparse.Namespace(nb_classes=3, input_size=96, lr=1e-4)
    content = foreign_files.zipped(
      {"model": tensors, "epoch": 11, "args": args}, storages
    )
  (tmp_path / "save_model.pth").write_bytes(content)
  module = reading.read_module(tmp_path / "save_model.pth")
  assert module.attributes == {
    "epoch": 11,
    "args.nb_classes": 3,
    "args.input_size": 96,
    "args.lr": 1e-4,
  }
  assert foreign.recognised(module)
  found = foreign.read(module, tmp_path, 0)
  assert (found.classes, found.image_size) == (3, 96)
  np.testing.assert_array_equal(found.class_of, [0, 0, 1, 1, 2, 2])
  (note,) = found.notes
  assert "alignment is a loss" in note


def test_a_module_that_was_saved_whole(arrays):
  kinds = {
    "": "model.OursNet",
    "add_on_layers.0": "n.Conv2d",
    "add_on_layers.1": "n.Sigmoid",
  }
  beside = {"num_classes": 3, "img_size": 32}
  whole = {**arrays, "prototype_class_identity": foreign_nets.class_map()}
  found = evalprotopnet.read(pytorch.Module(kinds, whole, beside))
  assert (found.classes, found.image_size) == (3, 32)
  kinds["add_on_layers.1"] = "n.Tanh"
  with pytest.raises(UserError, match="add-on is Conv2d, Tanh"):
    evalprotopnet.read(pytorch.Module(kinds, whole, beside))


def test_a_size_that_is_unknown_is_said(arrays):
  beside = {"args.nb_classes": 3}
  assert "224 pixels are assumed" in _read(arrays, beside).notes[1]
  assert len(_read(arrays, beside, size=96).notes) == 1


@pytest.mark.parametrize(
  ("beside", "changes", "message"),
  [
    ({}, {}, "not tell the number of classes; import the file that EvalProto"),
    ({"args.nb_classes": 4}, {}, "6 prototypes do not divide over 4 classes"),
    ({"args.nb_classes": "3"}, {}, "over '3' classes"),
    ({"args.nb_classes": True}, {}, "over True classes"),
    (None, {"activation_weight": np.zeros(5)}, r"activation_weight \(5,\)"),
    (None, {"prototype_vectors": np.zeros((6, 8))}, r"vectors \(6, 8\)"),
    (None, {"prototype_vectors": np.zeros((6, 8, 2, 1))}, "only those of one"),
    (None, {"last_layer.weight": np.zeros(1)}, "superfluous last_layer.weight"),
    (
      {"args.nb_classes": 3, "args.input_size": "big"},
      {},
      "its args.input_size is 'big'",
    ),
  ],
)
def test_what_does_not_fit_is_named(arrays, beside, changes, message):
  with pytest.raises(UserError, match=message):
    _read(arrays, beside, **changes)


def test_what_is_missing_is_named(arrays):
  rest = {k: x for k, x in arrays.items() if k != "prototype_vectors"}
  with pytest.raises(UserError, match=r"missing prototype_vectors$"):
    _read(rest)


@pytest.mark.slow
def test_pushed_prototypes_of_a_projection_have_length_one():
  """So have those that are trained: the similarity would grow with them."""
  config = protopnet_folder.get_config("debug").unlock()
  config.update_from_flattened_dict(
    {
      "backbone.name": "tests.toys.twoconv",
      "prototypes.similarity": "projection",
      "batch_size": 12,
    }
  )
  method = methods.load(config.lock())
  method.dataset.sources.update(train=ArraySource(36, 32, seed=0))
  state = starts.begun(method.init)
  state, _ = method.push(state, method.stream("train"))
  assert not push.stale(state)
  lengths = np.linalg.norm(np.asarray(bank_of(state).vectors), axis=-1)
  np.testing.assert_allclose(lengths, 1, atol=1e-6)
  steps = {s.name: getattr(s, "after_step", None) for s in method.stages()}
  assert steps["warm"]
  assert steps["joint"]
  assert not steps["last layer"]
