"""Adapters on whole networks: at first nothing, merged the same, by name."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.layers import adapted
from protojax.layers.conv import Conv
from protojax.types import UserError


class _Net(nn.Module):
  """One of each kind of layer."""

  @nn.compact
  def __call__(self, x, train=False):
    del train
    x = nn.relu(Conv(6, 3, 2, name="conv")(x))
    x = nn.relu(Conv(None, 3, name="depthwise")(x))
    x = nn.relu(Conv(8, name="pointwise")(x))
    return nn.Dense(9, name="qkv")(x.mean(axis=(1, 2)))


def _images(size, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=(3, size, size, 3)), jnp.float32)


def _filled(adapters, seed=1):
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: np.float32(rng.normal(size=x.shape) / 5), adapters
  )


@functools.cache
def _made(kind):
  if kind == "vit":
    module = backbones.load("vit_mini_patch4", "float32", True).module
    module = module.clone(blocks=1)  # Further blocks are compiled alike.
    size, names = 16, ""
  else:
    module, size, names = _Net(), 9, ".*"
  variables = jax.jit(module.init)(
    jax.random.key(0), jnp.zeros((1, size, size, 3))
  )
  found = adapted.chosen(variables["params"], names, 2, 4.0, 0.3)
  adapters = found.init(jax.random.key(1), variables["params"])
  return module, variables, found, adapters, _images(size)


@functools.partial(jax.jit, static_argnames="kind")
def _outputs(kind, adapters, keys=None):
  module, variables, found, _, x = _made(kind)
  with found.applied(adapters, keys):
    return module.apply(variables, x)


@functools.cache
def _plain(kind):
  module, variables, _, _, x = _made(kind)
  return np.asarray(jax.jit(lambda v, x: module.apply(v, x))(variables, x))


@pytest.mark.parametrize("kind", ["vit", "net"])
def test_fresh_adapters_change_nothing(kind):
  _, variables, found, adapters, _ = _made(kind)
  np.testing.assert_allclose(_outputs(kind, adapters), _plain(kind), atol=1e-5)
  # One program gets the same bits, so that it gives the same bits.
  merged = found.merged(variables["params"], adapters)
  jax.tree.map(np.testing.assert_array_equal, merged, variables["params"])
  assert np.std(np.asarray(next(iter(adapters.values()))["down"])) > 0


def test_fresh_adapters_give_the_same_bits_layer_by_layer():
  module, variables, found, adapters, x = _made("net")
  with found.applied(adapters):
    own = module.apply(variables, x)
  np.testing.assert_array_equal(own, module.apply(variables, x))


@pytest.mark.parametrize("kind", ["vit", "net"])
def test_merged_is_the_network_with_its_adapters(kind):
  module, variables, found, adapters, x = _made(kind)
  full = _filled(adapters)
  merged = {**variables, "params": found.merged(variables["params"], full)}
  expected = jax.jit(lambda v, x: module.apply(v, x))(merged, x)
  assert np.abs(expected - _plain(kind)).max() > 1e-2
  np.testing.assert_allclose(_outputs(kind, full), expected, atol=1e-5)


def test_a_block_of_qkv_is_adapted_alone():
  module, variables, _, _, x = _made("net")
  found = adapted.chosen(variables["params"], "q|v", 2, 4.0, 0.0)
  assert found.blocks == {"qkv": ((0, 2), 3)}
  full = _filled(found.init(jax.random.key(0), variables["params"]))
  with found.applied(full):
    own = np.asarray(module.apply(variables, x))
  plain = np.asarray(module.apply(variables, x))
  np.testing.assert_array_equal(own[:, 3:6], plain[:, 3:6])
  hidden = np.asarray(
    module.apply(
      variables, x, capture_intermediates=True, mutable=["intermediates"]
    )[1]["intermediates"]["pointwise"]["__call__"][0]
  )
  hidden = np.maximum(hidden, 0).mean(axis=(1, 2))
  for n, columns in enumerate((slice(0, 3), slice(6, 9))):
    down, up = (full["qkv"][side][n] for side in ("down", "up"))
    expected = plain[:, columns] + 2.0 * hidden @ down.T @ up
    np.testing.assert_allclose(own[:, columns], expected, atol=1e-5)


def test_layers_are_chosen_by_name():
  _, variables, found, adapters, _ = _made("net")
  assert set(found.blocks) == {"conv", "pointwise", "qkv"}
  assert adapters["conv"]["down"].shape == (1, 2, 27)
  assert adapters["qkv"]["up"].shape == (3, 2, 3)
  vit = _made("vit")[2]
  assert vit.blocks == {"layer_1/qkv": ((0, 1, 2), 3)}
  for names, message in (
    ("query", r"names no layer of the backbone; there are conv, k, pointwise"),
    ("(", "no regular expression"),
  ):
    with pytest.raises(UserError, match=message):
      adapted.chosen(variables["params"], names, 2, 4.0, 0.0)


def test_dropout_is_of_the_example_and_has_the_right_mean():
  _, _, _, adapters, _ = _made("net")
  full = _filled(adapters)
  keys = jax.random.split(jax.random.key(3), 3)
  one = np.asarray(_outputs("net", full, keys))
  np.testing.assert_array_equal(one, _outputs("net", full, keys))
  assert np.abs(one - np.asarray(_outputs("net", full))).max() > 1e-3
  x = jnp.ones((2, 4000))
  kept = adapted._dropped(x, keys[:2], (0, 0), 0.3)
  np.testing.assert_allclose(np.mean(kept), 1.0, atol=0.03)
  assert set(np.unique(kept).round(4)) == {0.0, np.float32(1 / 0.7).round(4)}


def test_each_block_drops_inputs_of_its_own():
  module, variables, _, _, x = _made("net")
  every, alone = (
    adapted.chosen(variables["params"], names, 2, 4.0, 0.5)
    for names in ("q|k|v", "q")
  )
  full = _filled(every.init(jax.random.key(0), variables["params"]))
  # The same adapter in each block.
  full = jax.tree.map(lambda rows: np.stack([rows[0]] * 3), full)
  keys = jax.random.split(jax.random.key(3), 3)

  plain = np.asarray(module.apply(variables, x))

  def more(found, adapters):
    with found.applied(adapters, keys):
      return np.asarray(module.apply(variables, x)) - plain

  q, k, v = np.split(more(every, full), 3, axis=1)
  assert min(np.abs(a - b).max() for a, b in ((q, k), (k, v), (v, q))) > 1e-3
  one = jax.tree.map(lambda rows: rows[:1], full)
  np.testing.assert_allclose(q, more(alone, one)[:, :3], atol=1e-6)


def test_gradients_are_those_of_the_merged_network():
  module, variables, found, adapters, x = _made("net")

  def apart(adapters):
    with found.applied(adapters):
      return jnp.sum(module.apply(variables, x) ** 2)

  def merged(adapters):
    params = found.merged(variables["params"], adapters)
    return jnp.sum(module.apply({"params": params}, x) ** 2)

  full = _filled(adapters)
  one, other = (jax.jit(jax.grad(f))(full) for f in (apart, merged))
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    assert np.abs(b).max() > 0
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
