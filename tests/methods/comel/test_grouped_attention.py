"""GDAT against a naive twin, and what must not change its result."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.methods.comel import attention, grouping
from protojax.methods.comel.attention import Dropout, Heads
from protojax.methods.comel.network import Network

M, D, H, HIDDEN = 24, 8, 2, 12


def _normal(seed, *shape):
  return np.float32(np.random.default_rng(seed).normal(size=shape))


def _weights():
  made = {
    "qkv": _normal(1, D, 3 * D) / 2,
    "proj": {"kernel": _normal(2, D, D) / 2, "bias": _normal(3, D)},
    "fc_1": {"kernel": _normal(4, D, HIDDEN) / 2, "bias": _normal(5, HIDDEN)},
    "fc_2": {"kernel": _normal(6, HIDDEN, D) / 2, "bias": _normal(7, D)},
  }
  for i in (1, 2):
    norm = {"scale": 1 + _normal(8, D) / 5, "bias": _normal(9, D) / 5}
    made[f"norm_{i}"] = norm
  return made


X, PLACES, VALID = _normal(10, M, D), _normal(11, M, 2), np.arange(M) < 19


@functools.partial(jax.jit, static_argnames=("kind", "chunk"))
def _block(x, places, valid, kind="region", chunk=1000):
  if kind == "region":
    groups = grouping.region(places, valid, 2)
  else:
    groups = grouping.strided(valid, 2)
  weights = _weights()
  seen = attention.context(x, valid, groups, weights, H, chunk)
  return attention.through(x, seen, weights, H, chunk, Dropout())


def _softmax(x):
  x = np.exp(x - x.max(axis=-1, keepdims=True))
  return x / x.sum(axis=-1, keepdims=True)


def _norm(x, layer):
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
  return x * layer["scale"] + layer["bias"]


def _naive(x, assigned, padding):
  """The block in float64, of vectors without padding of ours.

  Args:
    x: [M d].
    assigned: [m M + padding], the mean of each group.
    padding: vectors of zeros that the raster is padded with.
  """
  w = jax.tree.map(np.float64, _weights())
  x = x.astype(np.float64)
  normed = np.pad(_norm(x, w["norm_1"]), ((0, padding), (0, 0)))
  tokens = assigned @ normed

  def heads(y, i):
    made = y @ w["qkv"][:, i * D : (i + 1) * D]
    return made.reshape(len(y), H, D // H).transpose(1, 0, 2)

  root = np.sqrt(D // H)
  read = _softmax(heads(tokens, 0) @ heads(normed, 1).transpose(0, 2, 1) / root)
  np.testing.assert_allclose(read.sum(axis=-1), 1)
  values = read @ heads(normed, 2)
  back = _softmax(heads(normed, 0) @ heads(tokens, 1).transpose(0, 2, 1) / root)
  out = (back @ values + 0.1 * heads(normed, 2))[:, : len(x)]
  out = out.transpose(1, 0, 2).reshape(len(x), D)
  x = x + out @ w["proj"]["kernel"] + w["proj"]["bias"]
  hidden = _norm(x, w["norm_2"]) @ w["fc_1"]["kernel"] + w["fc_1"]["bias"]
  hidden = np.asarray(jax.nn.gelu(hidden, approximate=False))
  return x + hidden @ w["fc_2"]["kernel"] + w["fc_2"]["bias"]


def test_regions_are_the_cells_of_a_grid():
  places = np.float32([[0, 0], [9, 0], [0, 9], [9, 9], [1, 1], [99, 99]])
  valid = np.arange(6) < 5
  found = grouping.region(places, valid, 2)
  assert found.of[:5].tolist() == [0, 1, 2, 3, 0]
  assert found.divisor.tolist() == [2, 1, 1, 1]
  assert float(found.zeros) == 0


def test_strided_groups_are_offsets_in_windows():
  """23 instances: a raster of 5 columns, padded to 6 in windows of 2."""
  found = grouping.strided(np.arange(32) < 23, 2)
  n = np.arange(23)
  expected = n // 6 % 2 * 2 + n % 6 % 2
  np.testing.assert_array_equal(found.of[:23], expected)
  assert found.divisor.tolist() == [9] * 4
  assert float(found.zeros) == 36 - 23


@pytest.mark.parametrize("kind", grouping.GROUPINGS)
def test_the_block_is_its_formula(kind):
  count = int(VALID.sum())
  if kind == "region":
    groups = grouping.region(PLACES, VALID, 2)
  else:
    groups = grouping.strided(VALID, 2)
  padding = int(groups.zeros)
  assigned = np.zeros((4, count + padding))
  assigned[np.asarray(groups.of)[:count], np.arange(count)] = 1
  assigned /= np.asarray(groups.divisor)[:, None]
  expected = _naive(X[:count], assigned, padding)
  found = _block(X, PLACES, VALID, kind)[:count]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
  # In chunks, of which the last is half padding of ours.
  found = _block(X, PLACES, VALID, kind, chunk=5)[:count]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_instances_may_change_places_with_their_groups():
  count = int(VALID.sum())
  order = np.r_[np.random.default_rng(0).permutation(count), count:M]
  expected = np.asarray(_block(X, PLACES, VALID))[order]
  found = _block(X[order], PLACES[order], VALID)
  np.testing.assert_allclose(found[:count], expected[:count], atol=1e-5)


def test_with_a_group_for_each_instance_groups_read_by_full_attention():
  heads = Heads(_weights()["qkv"], H)
  queries, keys, values = (
    np.asarray(heads.of(X, i)).transpose(1, 0, 2) for i in range(3)
  )
  scores = queries @ keys.transpose(0, 2, 1) / np.sqrt(D // H)
  expected = (_softmax(scores) @ values).transpose(1, 0, 2)
  found = attention.groups_read(
    heads.of(X, 0),
    X,
    np.ones(M, bool),
    np.zeros((), np.float32),
    heads,
    chunk=7,
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_bias_of_a_head_has_no_gradient():
  """So the authors' scalar biases on both scores are left out."""
  scores, values = _normal(0, 3, 5), _normal(1, 5, 2)

  def loss(bias):
    return jnp.sum((jax.nn.softmax(scores + bias) @ values) ** 2)

  assert abs(float(jax.grad(loss)(jnp.float32(0.3)))) < 1e-6


NETWORK = Network(
  channels=5,
  width=D,
  heads=H,
  blocks=1,
  hidden=HIDDEN,
  scorer=3,
  side=2,
  grouping="region",
  chunk=8,
  tasks=2,
  dropout=(0.25, 0.1),
)


@pytest.fixture(scope="module")
def network():
  """A network with random adapters, and its jitted `bags`."""
  ranks = dict.fromkeys(NETWORK.kernels, 2)
  params = jax.jit(lambda key: NETWORK.init(key, ranks))(parallel.init_key(0))
  adapters = {
    name: a._replace(up=_normal(i, *a.up.shape))
    for i, (name, a) in enumerate(params["adapter_1"].items())
  }
  return {**params, "adapter_1": adapters}, jax.jit(NETWORK.bags)


COUNTS = 11, 19
VECTORS, GRID = _normal(0, 2, 24, 5), _normal(1, 2, 24, 2)
REAL = np.arange(24)[None] < np.array(COUNTS)[:, None]


def test_padding_and_neighbours_change_nothing(network):
  params, bags = network
  found = bags(params, VECTORS, REAL, GRID)
  moved = np.where(REAL[..., None], GRID, 9.0).astype(np.float32)
  other = np.where(REAL[..., None], VECTORS, 7.0).astype(np.float32)
  again = bags(params, other, REAL, moved)
  for i, count in enumerate(COUNTS):
    rest = ((0, 0), (0, 8), (0, 0))
    alone = bags(
      params,
      np.pad(VECTORS[i : i + 1], rest),
      np.pad(REAL[i : i + 1], rest[:2]),
      np.pad(GRID[i : i + 1], rest),
    )
    assert float(alone.attention.sum()) == pytest.approx(1)
    for one in (found, again):
      assert not np.asarray(one.attention[i, count:]).any()
      for name in ("features", "attention"):
        np.testing.assert_allclose(
          getattr(one, name)[i, :count],
          getattr(alone, name)[0, :count],
          atol=1e-5,
        )
      np.testing.assert_allclose(one.logits[i], alone.logits[0], atol=1e-5)


def test_merged_kernels_are_those_with_adapters(network):
  params, bags = network
  merged = {**params, "base": jax.jit(NETWORK.merged)(params)}
  merged["adapter_1"] = jax.tree.map(np.zeros_like, params["adapter_1"])
  given = VECTORS, REAL, GRID
  np.testing.assert_allclose(
    bags(merged, *given).logits, bags(params, *given).logits, atol=1e-5
  )


def test_an_instance_among_a_bag_is_seen_as_in_it(network):
  params, bags = network

  @jax.jit
  def among(params, vectors, valid, places):
    base = NETWORK.merged(params)
    seen = NETWORK.contexts(base, vectors, valid, places)
    return NETWORK.among(base, seen, vectors[3:7])

  given = VECTORS[1], REAL[1], GRID[1]
  found = bags(params, VECTORS, REAL, GRID).features[1, 3:7]
  np.testing.assert_allclose(among(params, *given), found, atol=1e-5)


def test_pooling_does_not_know_the_order():
  """ABMIL: no block, so no group either."""
  network = dataclasses.replace(NETWORK, blocks=0)
  params = jax.jit(lambda key: network.init(key, None))(parallel.init_key(0))
  bags = jax.jit(network.bags)
  order = np.random.default_rng(0).permutation(24)
  found = bags(params, VECTORS, REAL, GRID)
  again = bags(params, VECTORS[:, order], REAL[:, order], GRID)
  np.testing.assert_allclose(again.bag, found.bag, atol=1e-5)
  np.testing.assert_allclose(
    again.attention, found.attention[:, order], atol=1e-6
  )


def test_dropout_changes_a_step_and_keeps_the_mean():
  ones = np.ones((4000,), np.float32)
  key = jax.random.key(0)
  found = np.asarray(Dropout(0.25, key)(jnp.asarray(ones), 3))
  assert found.mean() == pytest.approx(1, abs=0.05)
  np.testing.assert_allclose(np.unique(found), [0, 4 / 3], rtol=1e-6)
  np.testing.assert_array_equal(Dropout(0.25)(jnp.asarray(ones), 3), ones)
