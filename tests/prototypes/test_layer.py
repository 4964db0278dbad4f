"""AddOn and PrototypeLayer: shapes, initial values, standardisation."""

import jax
import numpy as np
import pytest

from protojax.prototypes import layer, pooling, similarity
from protojax.types import UserError

KEY = jax.random.key(0)


def features(channels=64):
  generator = np.random.default_rng(0)
  return generator.normal(size=(2, 3, 4, channels)).astype(np.float32)


def widths(params):
  return [params[f"Dense_{i}"]["kernel"].shape for i in range(len(params))]


def test_regular_is_two_layers_behind_a_sigmoid():
  module = layer.AddOn(16)
  result, variables = jax.jit(module.init_with_output)(KEY, features())
  params = variables["params"]
  assert widths(params) == [(64, 16), (16, 16)]
  first = features() @ params["Dense_0"]["kernel"]
  second = np.maximum(first, 0) @ params["Dense_1"]["kernel"]
  np.testing.assert_allclose(result, 1 / (1 + np.exp(-second)), atol=1e-5)


@pytest.mark.parametrize(
  ("channels", "expected"),
  [
    (64, [(64, 32), (32, 32), (32, 16), (16, 16)]),
    (40, [(40, 20), (20, 20), (20, 16), (16, 16)]),
    (16, [(16, 16), (16, 16)]),
  ],
)
def test_bottleneck_halves_until_the_prototypes_channels(channels, expected):
  module = layer.AddOn(16, kind="bottleneck")
  params = jax.jit(module.init)(KEY, features(channels))["params"]
  assert widths(params) == expected


def test_single_is_one_layer():
  module = layer.AddOn(16, kind="single", final="none")
  result, variables = jax.jit(module.init_with_output)(KEY, features())
  assert widths(variables["params"]) == [(64, 16)]
  expected = features() @ variables["params"]["Dense_0"]["kernel"]
  np.testing.assert_allclose(result, expected, atol=1e-4)


def test_start_is_kaiming_normal_by_fan_out():
  params = jax.jit(layer.AddOn(256).init)(KEY, features(512))["params"]
  kernel = params["Dense_0"]["kernel"]
  np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / 256), rtol=0.02)
  np.testing.assert_array_equal(params["Dense_0"]["bias"], 0.0)


def test_standardisation_comes_first():
  module = layer.AddOn(16, final="none")
  raw = features() * 30 + 7
  variables = jax.jit(module.init)(KEY, raw)
  shift = np.full(64, 7, np.float32)
  scale = np.full(64, 1 / 30, np.float32)
  apply = jax.jit(module.apply)
  np.testing.assert_allclose(
    apply(variables, raw, shift, scale), apply(variables, features()), atol=1e-4
  )


def test_activations_are_chosen_by_name():
  module = layer.AddOn(16, hidden="none", final="tanh")
  result, variables = jax.jit(module.init_with_output)(KEY, features())
  first, second = (variables["params"][f"Dense_{i}"]["kernel"] for i in (0, 1))
  np.testing.assert_allclose(
    result, np.tanh(features() @ first @ second), atol=1e-5
  )


@pytest.mark.parametrize(
  "wrong", [{"kind": "deep"}, {"final": "gauss"}, {"hidden": "gauss"}]
)
def test_wrong_names_are_told(wrong):
  with pytest.raises(UserError, match="not known; choose one of"):
    layer.AddOn(16, **wrong).init(KEY, features())


def test_prototype_layer_starts_uniform_and_finds_the_nearest():
  metric = similarity.load("log")
  module = layer.PrototypeLayer(300, 8, metric, height=2, width=1)
  maps = features(8)
  found, variables = jax.jit(module.init_with_output)(KEY, maps)
  prototypes = variables["params"]["prototypes"]
  assert prototypes.shape == (300, 2, 1, 8)
  assert 0 <= prototypes.min() < 0.01 < 0.99 < prototypes.max() <= 1
  expected = jax.jit(pooling.nearest, static_argnums=2)(
    maps, prototypes, metric
  )
  np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-5)
