"""Networks of ProMoE's own code: every tensor has its place, or it is said."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from protojax import methods, parallel
from protojax.configs import promoe_imagenet
from protojax.diffusion.positions import grid_positions
from protojax.methods.promoe import foreign
from protojax.types import State, UserError
from protojax.weights import pytorch

D, DEPTH, E, CLASSES = 64, 4, 2, 7


def linear(tensors, rng, name, inside, outside):
  tensors[f"{name}.weight"] = np.float32(rng.normal(size=(outside, inside)))
  tensors[f"{name}.bias"] = np.float32(rng.normal(size=outside))


@pytest.fixture(scope="module")
def tensors():
  """As their network names them."""
  rng, found = np.random.default_rng(0), {}
  found["pos_embed"] = grid_positions(4, 4, D)[None]
  found["x_embedder.proj.weight"] = np.float32(rng.normal(size=(D, 4, 2, 2)))
  found["x_embedder.proj.bias"] = np.float32(rng.normal(size=D))
  found["y_embedder.embedding_table.weight"] = np.float32(
    rng.normal(size=(CLASSES + 1, D))
  )
  linear(found, rng, "t_embedder.mlp.0", 256, D)
  linear(found, rng, "t_embedder.mlp.2", D, D)
  for n in range(DEPTH):
    block = f"blocks.{n}"
    linear(found, rng, f"{block}.attn.qkv", D, 3 * D)
    linear(found, rng, f"{block}.attn.proj", D, D)
    linear(found, rng, f"{block}.adaLN_modulation.1", D, 6 * D)
    if n % 2 == 0:
      linear(found, rng, f"{block}.mlp.fc1", D, 4 * D)
      linear(found, rng, f"{block}.mlp.fc2", 4 * D, D)
      continue
    found[f"{block}.mlp.cluster_centers"] = np.float32(rng.normal(size=(E, D)))
    experts = [f"{block}.mlp.experts.{j}" for j in range(E + 1)]
    for name in (*experts, f"{block}.mlp.shared_expert"):
      linear(found, rng, f"{name}.up_proj", D, 2 * D)
      linear(found, rng, f"{name}.down_proj", 2 * D, D)
  linear(found, rng, "final_layer.linear", D, 32)
  linear(found, rng, "final_layer.adaLN_modulation.1", D, 2 * D)
  return found


def imported(tensors):
  module = pytorch.Module({}, tensors, {})
  assert foreign.recognised(module)
  found = foreign.read(module, Path(), 0)
  method, template = prepared(tuple(foreign.settings(found).items()))
  return found, foreign.state(found, template, method)


@functools.cache
def prepared(settings):
  """The method of a config, and the shapes of its state."""
  config = promoe_imagenet.get_config().unlock()
  config.update_from_flattened_dict(dict(settings))
  method = methods.load(config, tuple(f"class {k}" for k in range(CLASSES)))
  return method, jax.eval_shape(method.init, parallel.init_key(0))


def test_tensors_go_to_their_places(tensors):
  found, state = imported(tensors)
  assert found.learn_sigma
  assert not found.qk_norm
  assert (found.side, found.classes, found.experts) == (8, CLASSES, E)
  assert "with 2 experts in every second one" in foreign.described(found)
  network = state.params["network"]
  assert state.memory["average"] is network
  mixture = network["groups"]["block_1"]["feed_forward"]
  for layer in range(DEPTH // 2):
    block = f"blocks.{2 * layer + 1}"
    for j in range(E + 1):
      expected = tensors[f"{block}.mlp.experts.{j}.up_proj.weight"].T
      np.testing.assert_array_equal(mixture["up"][layer, j], expected)
      expected = tensors[f"{block}.mlp.experts.{j}.down_proj.bias"]
      np.testing.assert_array_equal(mixture["down_bias"][layer, j], expected)
    expected = tensors[f"{block}.mlp.cluster_centers"]
    np.testing.assert_array_equal(mixture["prototypes"][layer], expected)
  # A pixel of a patch, with its channels side by side.
  kernel = network["patches"]["kernel"].reshape(2, 2, 4, D)
  embed = tensors["x_embedder.proj.weight"]
  np.testing.assert_array_equal(kernel[0, 1, 2], embed[:, 2, 0, 1])


@pytest.mark.parametrize(
  ("change", "said"),
  [
    ({"blocks.1.mlp.shared_expert.up_proj.bias": None}, "up_proj.bias is miss"),
    ({"blocks.1.mlp.gate.weight": np.zeros(3)}, "gate.weight is superfluous"),
    ({"blocks.0.attn.proj.bias": np.zeros(3)}, "attention/out/bias|same shape"),
    ({"pos_embed": np.zeros((1, 16, D))}, "does not hold the sines"),
    ({"blocks.3.mlp.cluster_centers": None}, r"those with experts are \[1\]"),
    ({"final_layer.linear.bias": None}, "no tensor final_layer.linear.bias"),
  ],
)
def test_what_does_not_fit_is_told(tensors, change, said):
  changed = {**tensors, **change}
  changed = {name: x for name, x in changed.items() if x is not None}
  with pytest.raises(UserError, match=said):
    imported(changed)


def test_there_is_nothing_to_push():
  method = methods.load(promoe_imagenet.get_config(), ("a", "b"))
  with pytest.raises(UserError, match="no patches of images"):
    foreign.pushed(method, State({}, {}, {}))
