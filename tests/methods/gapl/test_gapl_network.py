"""GAPL's parts against NumPy: dictionary, attention, diagnostics, threshold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from protojax import backbones
from protojax.methods.gapl import dictionary, judging, network
from protojax.methods.gapl.diagnostics import Moments
from protojax.prototypes import bank
from protojax.types import UserError
from tests.weights import foreign_files

_CHANNELS, _COUNT, _HEADS = 12, 8, 3


@functools.cache
def _features(count=80, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(count, _CHANNELS)) * np.linspace(2, 0.2, _CHANNELS)
  x = np.float32(x / np.linalg.norm(x, axis=1, keepdims=True))
  return x, np.arange(count) % 2


@functools.cache
def _model():
  net = network.Network(
    backbones.load("convnet"), 16, _CHANNELS, _COUNT, _HEADS, None
  )
  state = jax.device_get(jax.jit(net.init)(jax.random.key(0)))
  return net, state


def _vectors(count=5):
  rng = np.random.default_rng(3)
  return jnp.asarray(rng.normal(size=(count, _model()[0].width)), jnp.float32)


@functools.partial(jax.jit)
def _judged(params, vectors):
  return _model()[0].judged(params, vectors)


def test_directions_are_singular_vectors_of_the_centred_class():
  x, labels = _features()
  made = dictionary.of_classes(x, labels, _COUNT)
  for label, half in enumerate(np.split(made, 2)):
    own = x[labels == label]
    _, _, right = np.linalg.svd(own - own.mean(axis=0))
    signs = np.sum(half * right[: _COUNT // 2], axis=1)
    np.testing.assert_allclose(np.abs(signs), 1, atol=1e-4)
    np.testing.assert_allclose(half @ half.T, np.eye(_COUNT // 2), atol=1e-6)
    assert (half[np.arange(len(half)), np.abs(half).argmax(axis=1)] > 0).all()
    spread = np.var(own @ half.T, axis=0)
    assert (np.diff(spread) < 0).all()
  order = np.random.default_rng(1).permutation(len(x))
  again = dictionary.of_classes(x[order], labels[order], _COUNT)
  np.testing.assert_allclose(again, made, atol=1e-5)


def test_too_few_images_give_no_dictionary():
  x, labels = _features(8)
  with pytest.raises(UserError, match=r"4 real images give at most 3 direct"):
    dictionary.of_classes(x, labels, _COUNT)


def test_random_prototypes_are_orthonormal_by_class():
  rows = dictionary.random(jax.random.key(1), _COUNT, _CHANNELS)
  for half in np.split(np.asarray(rows), 2):
    np.testing.assert_allclose(half @ half.T, np.eye(4), atol=1e-5)


def test_a_published_dictionary_is_read_column_by_column(tmp_path, torch):
  rows = dictionary.of_classes(*_features(), _COUNT)
  flat = np.ascontiguousarray(rows.T).ravel()
  storage = foreign_files.Storage("0", torch.FloatStorage, rows.size)
  stored = foreign_files.Tensor(storage, 0, rows.shape, (1, _COUNT))
  path = tmp_path / "pca.pt"
  path.write_bytes(foreign_files.zipped(stored, [("0", flat)]))
  found = dictionary.read(str(path), _COUNT, _CHANNELS)
  np.testing.assert_array_equal(found, rows)
  with pytest.raises(UserError, match=r"shape \(8, 12\); expected \(8, 16\)"):
    dictionary.read(str(path), _COUNT, 16)
  # Read row by row, the bytes would be no unit vectors.
  wrong = foreign_files.Tensor(storage, 0, rows.shape, (_CHANNELS, 1))
  path.write_bytes(foreign_files.zipped(wrong, [("0", flat)]))
  with pytest.raises(UserError, match="expected unit vectors"):
    dictionary.read(str(path), _COUNT, _CHANNELS)


def test_the_attention_is_that_of_numpy():
  net, state = _model()
  f = np.asarray(net.embedding(state.params, _vectors()))
  np.testing.assert_allclose(np.linalg.norm(f, axis=1), 1, rtol=1e-5)
  p, rows = state.params["attention"], bank.vectors(state.params)[:, 0, 0]

  def layer(x, name):
    made = x @ p[name]["kernel"] + p[name]["bias"]
    return made.reshape(len(made), _HEADS, -1)

  q, k, v = layer(f, "query"), layer(rows, "key"), layer(rows, "value")
  mixed, weights = [], []
  for head in range(_HEADS):
    scores = q[:, head] @ k[:, head].T / 2.0
    w = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    weights.append(w)
    mixed.append(w @ v[:, head])
  mixed = np.concatenate(mixed, axis=1) @ p["out"]["kernel"]
  found = _judged(state.params, _vectors())
  np.testing.assert_allclose(found.mixed, mixed, atol=1e-5)
  np.testing.assert_allclose(found.attention, np.mean(weights, 0), atol=1e-6)
  logit = mixed @ state.params["classifier"]["kernel"][:, 0]
  np.testing.assert_allclose(found.logit, logit, atol=1e-5)


def _with_out_bias(state):
  attention = dict(state.params["attention"])
  rng = np.random.default_rng(5)
  for name in attention:
    bias = np.float32(rng.normal(size=_CHANNELS))
    attention[name] = {**attention[name], "bias": bias}
  return {**state.params, "attention": attention}


def test_the_logit_is_the_sum_of_points_and_a_constant():
  params = _with_out_bias(_model()[1])
  found = _judged(params, _vectors())
  constant = params["attention"]["out"]["bias"] @ params["classifier"]["kernel"]
  total = np.sum(found.points, axis=1) + constant
  np.testing.assert_allclose(total, found.logit, atol=1e-5)


def test_order_of_prototypes_and_length_of_projections_change_nothing():
  params = _with_out_bias(_model()[1])
  expected = _judged(params, _vectors())
  order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
  rows = bank.vectors(params)[order]
  found = _judged({**params, "prototypes": bank.bank_params(rows)}, _vectors())
  np.testing.assert_allclose(found.logit, expected.logit, atol=1e-5)
  np.testing.assert_allclose(
    found.attention, np.asarray(expected.attention)[:, order], atol=1e-6
  )
  longer = {"kernel": 7 * params["projection"]["kernel"]}
  found = _judged({**params, "projection": longer}, _vectors())
  np.testing.assert_allclose(found.logit, expected.logit, atol=1e-4)


def test_equal_keys_give_the_mean_of_the_values():
  p = dict(_with_out_bias(_model()[1])["attention"])
  p["key"] = jax.tree.map(np.zeros_like, p["key"])
  f, rows = _features()[0][:4], _features(seed=2)[0][:_COUNT]
  weights, values = network.attention(p, f, rows, _HEADS)
  np.testing.assert_allclose(weights, 1 / _COUNT, atol=1e-6)
  mixed = np.einsum("bhn,hne->bhe", weights, values)
  np.testing.assert_allclose(mixed[0], np.mean(values, axis=1), atol=1e-5)


def test_mixtures_vary_less_than_half_of_the_squared_diameter():
  p = _with_out_bias(_model()[1])["attention"]
  f, rows = _features(80, 4)[0], _features(seed=2)[0][:_COUNT]
  weights, values = network.attention(p, 50 * f, rows, _HEADS)
  mixed = np.einsum("bhn,hne->hbe", weights, values)
  for own, of_head in zip(np.asarray(values), mixed, strict=True):
    widest = max(np.sum((a - b) ** 2) for a in own for b in own)
    assert 0 < np.trace(np.cov(of_head.T, ddof=0)) <= widest / 2


def test_layers_of_the_attention_start_as_pytorchs():
  d = 400
  key = jax.random.key(0)
  for name, bound in (
    ("query", (6 / (4 * d)) ** 0.5),
    ("key", (6 / (4 * d)) ** 0.5),
    ("value", (6 / (4 * d)) ** 0.5),
    ("out", d**-0.5),
  ):
    largest = np.abs(network._ATTENTION[name](key, d, d)).max()
    assert largest == pytest.approx(bound, rel=1e-3)
    assert largest <= bound


def test_prototypes_get_no_gradient():
  _, state = _model()

  def loss(params):
    return jnp.sum(_judged(params, _vectors()).logit ** 2)

  gradient = jax.grad(loss)(state.params)
  assert not np.any(bank.vectors(gradient))
  assert np.any(gradient["attention"]["value"]["kernel"])


def test_cross_entropy_is_that_of_optax():
  z = jnp.array([-30.0, -1.0, 0.5, 40.0])
  y = jnp.array([0, 1, 1, 0])
  expected = optax.sigmoid_binary_cross_entropy(z, y)
  np.testing.assert_allclose(network.entropy(z, y), expected, rtol=1e-5)


def test_diagnostics_are_those_of_all_features_at_once():
  x, labels = _features(120, 7)
  x = x + 0.2 * labels[:, None].astype(np.float32)
  generators = np.arange(120) // 2 % 3
  moments = Moments(_CHANNELS)
  for part in np.array_split(np.arange(120), 7):
    moments.add(x[part], labels[part], generators[part])
  real, made = x[labels == 0], x[labels == 1]
  assert moments.trace(0) == pytest.approx(np.trace(np.cov(real.T, ddof=0)))
  assert moments.trace(1) == pytest.approx(np.trace(np.cov(made.T, ddof=0)))
  within = np.mean(
    [
      np.trace(np.cov(made[generators[labels == 1] == g].T, ddof=0))
      for g in range(3)
    ]
  )
  squares = np.mean(np.sum(made.astype(np.float64) ** 2, axis=1))
  relative = moments.trace(1) / squares
  assert moments.relative_trace(1) == pytest.approx(relative, rel=1e-5)
  long = Moments(_CHANNELS)
  long.add(3 * x, labels, generators)
  assert long.relative_trace(1) == pytest.approx(moments.relative_trace(1))
  # The law of total variance; the generators have equally many images.
  assert moments.between() == pytest.approx(moments.trace(1) - within)
  apart = made.mean(axis=0) - real.mean(axis=0)
  spread = np.cov(real.T, ddof=0) + np.cov(made.T, ddof=0)
  w = np.linalg.solve(spread, apart)
  assert moments.fisher() == pytest.approx(
    (w @ apart) ** 2 / (w @ spread @ w), rel=1e-4
  )
  other = np.random.default_rng(0).normal(size=_CHANNELS)
  assert moments.fisher() > (other @ apart) ** 2 / (other @ spread @ other)


def test_the_threshold_is_where_both_classes_are_told_best():
  def found(probabilities, labels):
    labels = np.array(labels)
    empty = Moments(2)
    groups = np.array([0, 0, 1, 1, 1, 0])
    return judging.Judged(
      np.array(probabilities), labels, groups, ("a", "b"), empty, empty
    )

  apart = found([0.1, 0.2, 0.25, 0.35, 0.3, 0.9], [0, 0, 0, 1, 1, 1])
  assert judging.threshold(apart) == pytest.approx(0.275)
  assert apart.right(0.5).mean() == pytest.approx(4 / 6)
  assert apart.by_generator(0.5) == {"a": 1.0, "b": pytest.approx(1 / 3)}
  assert judging.threshold(found([0.5] * 6, [0, 1] * 3)) == 0.5
  wide = found([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], [0, 0, 0, 1, 1, 1])
  assert judging.threshold(wide) == 0.5
