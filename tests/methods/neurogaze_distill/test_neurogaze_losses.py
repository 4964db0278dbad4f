"""The four losses against NumPy twins, and what must hold of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.engine import cost
from protojax.methods.neurogaze_distill import grid_bank, losses
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.types import UserError

GRID = Grid(5, 5)
# Compiled once for each shape.
KL = jax.jit(losses.proto_kd_loss)
GEO = jax.jit(losses.geo_prior_loss, static_argnums=(5, 6))
ANCHORS = np.array([[0.8, 0.4], [0.0, 0.0], [-0.8, -0.4]], np.float32)


@pytest.fixture(scope="module")
def bank():
  rng = np.random.default_rng(0)
  targets = rng.uniform(-1, 1, (500, 2))
  features = np.maximum(targets @ rng.normal(size=(2, 32)) + 0.5, 0) + 0.05
  return grid_bank.build(features, targets, GRID)


def unit(*shape, seed=0):
  x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_the_ramp_at_the_papers_epochs():
  at = (19.0, 20.0, 40.0, 60.0, 100.0)
  found = [losses.late_cosine_ramp(e, 20.0, 60.0) for e in at]
  np.testing.assert_allclose(found, [0, 0, 0.5, 1, 1], atol=1e-6)


def test_cross_entropy_is_that_of_numpy():
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(6, 4)).astype(np.float32)
  labels = np.array([0, 1, 2, 3, 3, 0])
  weights = losses.class_weights(np.array([100, 25, 4, 1]))
  np.testing.assert_allclose(weights, np.array([1, 2, 5, 10]) / 4.5, rtol=1e-6)
  terms, of_label = losses.smoothed_cross_entropy(
    logits, labels, weights, 0.055
  )
  log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  for i, y in enumerate(labels):
    wanted = np.full(4, 0.055 / 4)
    wanted[y] += 1 - 0.055
    expected = -(weights * wanted * log_p[i]).sum()
    np.testing.assert_allclose(terms[i], expected, rtol=1e-5)
  np.testing.assert_allclose(of_label, weights[labels], rtol=1e-6)
  np.testing.assert_array_equal(losses.class_weights(np.array([9, 0, 9])), 1)


def test_logit_distillation_is_zero_for_equal_logits():
  z = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
  assert not np.any(losses.kd_mse(z, z, 5.0))
  np.testing.assert_allclose(losses.kd_kl(z, z, 5.0), 0, atol=1e-5)
  np.testing.assert_allclose(losses.kd_mse(z + 5, z, 5.0), 1, rtol=1e-5)
  # A shift of all logits is no other answer.
  np.testing.assert_allclose(losses.kd_kl(z + 5, z, 5.0), 0, atol=1e-4)


def test_targets_sum_to_one_and_follow_the_anchors(bank):
  for kind in losses.TARGETS:
    q = losses.proto_targets(bank, ANCHORS, kind)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
  q = losses.proto_targets(bank, ANCHORS)
  # The cells of (0.8, 0.4), (0, 0) and (-0.8, -0.4).
  np.testing.assert_array_equal(q.argmax(axis=1), [23, 12, 1])
  ratio = np.exp(-(0.4**2) / (2 * 0.8**2))
  np.testing.assert_allclose(q[1, 13] / q[1, 12], ratio, rtol=1e-5)
  nearest = losses.proto_targets(bank, ANCHORS, "nearest")
  np.testing.assert_array_equal(nearest.argmax(axis=1), [23, 12, 1])
  with pytest.raises(UserError, match="choose one of anchor"):
    losses.proto_targets(bank, ANCHORS, "nowhere")


def test_kl_is_zero_if_and_only_if_equal(bank):
  f = unit(7, 32)
  s, roots = f @ bank.prototypes.T, bank.roots()
  own = jax.nn.softmax(s / 0.9)
  np.testing.assert_allclose(KL(s, own, roots, 0.9), 0, atol=1e-6)
  other = losses.proto_targets(bank, ANCHORS)[[0, 1, 2, 0, 1, 2, 0]]
  assert np.all(KL(s, other, roots, 0.9) > 0)


def test_the_loss_does_not_change_with_a_rotation(bank):
  f, q = unit(3, 32), losses.proto_targets(bank, ANCHORS)
  turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(32, 32)))
  turned = (f @ turn) @ (bank.prototypes @ turn).T
  plain = f @ bank.prototypes.T
  np.testing.assert_allclose(
    KL(turned, q, bank.roots(), 0.9), KL(plain, q, bank.roots(), 0.9), rtol=1e-4
  )


def test_cells_with_one_prototype_count_together():
  """So a copy adds no floor: the same KL as of the grid without copies."""
  features = np.eye(3) + 0.1
  targets = np.array([[-0.8, -0.8], [0.0, 0.0], [0.8, 0.8]])
  bank = grid_bank.build(features, targets, GRID)
  q = losses.proto_targets(bank, ANCHORS)
  roots, f = bank.roots(), unit(3, 3)
  s = f @ bank.prototypes.T
  found = KL(s, q, roots, 0.9)
  own = np.unique(roots)
  wanted = np.stack([q[:, roots == k].sum(1) for k in own], axis=1)
  powers = np.exp(s[:, own] / 0.9) * [(roots == k).sum() for k in own]
  stu = powers / powers.sum(1, keepdims=True)
  expected = (wanted * np.log(wanted / stu)).sum(1)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  gradient = jax.grad(lambda x: jnp.sum(KL(x, q, roots, 0.9)))(s)
  assert np.isfinite(gradient).all()


def test_the_loss_grows_with_cells_and_not_with_their_pairs():
  def held(cells):
    arrays = [jax.ShapeDtypeStruct((8, cells), np.float32)] * 2
    roots = jax.ShapeDtypeStruct((cells,), np.int32)
    return cost.of(losses.proto_kd_loss, *arrays, roots, 0.9).held

  assert held(512) < 2.1 * held(256)


def test_the_floor_is_below_what_any_feature_gives(bank):
  """Of a sharp target it is large, of the default one small (section 8)."""
  roots, f = bank.roots(), unit(4000, 32)
  s = f @ bank.prototypes.T
  floors = {}
  for sigma in (0.4, 0.8):
    q = losses.proto_targets(bank, ANCHORS, sigma=sigma)
    floors[sigma] = losses.kl_floor(bank, q, 0.9)
    for row, floor in zip(q, floors[sigma], strict=True):
      many = KL(s, np.tile(row, (4000, 1)), roots, 0.9)
      assert floor <= np.min(many) + 1e-5
    uniform = KL(np.zeros((3, 25)), q, roots, 0.9)
    assert np.all(floors[sigma] < uniform)
  assert floors[0.8][0] < 0.2 < floors[0.4][0]


def test_similar_classes_have_similar_rows(bank):
  q = losses.proto_targets(bank, ANCHORS)
  near = losses.class_similarity(bank, q)
  np.testing.assert_allclose(np.diagonal(near), 1, rtol=1e-5)
  assert near[0, 1] > near[0, 2]


def geometry(features, labels, positive=(1.0, 0.0, 0.0), kappa=0.2, delta=0.5):
  own = np.eye(3, dtype=np.float32)[labels]
  means = own.T @ features / np.maximum(own.sum(0), 1)[:, None]
  seen = own.sum(0) > 0
  return GEO(features, labels, means, seen, np.array(positive), kappa, delta)


def test_compact_classes_that_are_apart_cost_nothing():
  labels = np.arange(30) % 3
  features = np.eye(3, 8, dtype=np.float32)[labels]
  features = features + 0.01 * unit(30, 8)
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  found = geometry(features, labels)
  assert found.spread == found.margin == 0
  assert 0 < found.variance < 0.2
  # Class means that are nearer than the margin allows.
  near = np.full((30, 8), 8**-0.5, np.float32)
  assert geometry(near, labels).margin == pytest.approx(0.5, abs=1e-5)


def test_variance_is_that_of_numpy_and_moves_positive_classes_alone():
  labels, features = np.arange(30) % 3, unit(30, 8)
  found = geometry(features, labels)
  own = features[labels == 0]
  expected = ((own - own.mean(0)) ** 2).sum(1).mean()
  np.testing.assert_allclose(found.variance, expected, rtol=1e-5)
  np.testing.assert_allclose(found.spread, expected - 0.2, rtol=1e-5)
  gradient = jax.jit(jax.grad(geometry_spread))(features, labels)
  assert np.abs(gradient[labels == 0]).max() > 0
  np.testing.assert_array_equal(gradient[labels > 0], 0)


def geometry_spread(features, labels):
  means, seen = np.zeros((3, 8), np.float32), np.ones(3, bool)
  positive = np.array([1.0, 0.0, 0.0])
  return GEO(features, labels, means, seen, positive, 0.2, 0.5).spread


def test_a_class_with_one_row_has_no_variance():
  features = unit(3, 8)
  found = geometry(features, np.array([0, 1, 1]))
  assert found.spread == found.variance == 0


def test_the_margin_pushes_means_apart():
  labels = np.arange(6) % 2
  features = np.repeat(unit(2, 8), 3, axis=0) * 0.1 + unit(1, 8, seed=5)

  def margin(f):
    own = np.eye(3)[labels]
    means = own.T @ jax.lax.stop_gradient(f) / 3
    return GEO(
      f, labels, means,
      np.array([True, True, False]), np.zeros(3), 0.2, 0.5,
    ).margin  # fmt: skip

  moved = features - 0.5 * jax.jit(jax.grad(margin))(features)
  assert margin(features) > margin(moved) > 0


def test_arms_switch_terms_on_one_by_one():
  found = {
    arm: losses.weights_of_arm(arm, 0.3, 0.12, 0.012)
    for arm in ("B0", "B1", "B2", "B3")
  }
  assert found["B0"] == {"kd": 0, "proto": 0, "geo": 0}
  assert found["B1"] == {"kd": 0.3, "proto": 0, "geo": 0}
  assert found["B2"] == {"kd": 0.3, "proto": 0.12, "geo": 0}
  assert found["B3"] == {"kd": 0.3, "proto": 0.12, "geo": 0.012}
  with pytest.raises(UserError, match="choose one of B0, B1, B2, B3"):
    losses.weights_of_arm("A3", 1.0, 1.0, 1.0)
