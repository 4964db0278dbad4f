"""Distances of generated from real images, against scipy and naive loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from protojax import parallel
from protojax.metrics import generation
from protojax.metrics.generation_manifolds import precision_recall
from protojax.types import UserError

WIDTH = 6


def rows(count, seed=0, width=WIDTH, shift=0.0):
  """Correlated features with a mean far from 0."""
  rng = np.random.default_rng(seed)
  mixed = rng.normal(size=(count, width)) @ rng.normal(size=(width, width))
  return np.float32(mixed + 10 + shift)


def of_scipy(a, b):
  """The formula of pytorch-fid and clean-fid, on its own covariances."""
  means = a.mean(0, dtype=np.float64), b.mean(0, dtype=np.float64)
  covariances = [np.cov(np.float64(x), rowvar=False) for x in (a, b)]
  root = linalg.sqrtm(covariances[0] @ covariances[1])
  apart = means[0] - means[1]
  traces = np.trace(covariances[0]) + np.trace(covariances[1])
  return apart @ apart + traces - 2 * np.trace(root).real


def in_batches(x, size=7):
  return generation.gaussian(x[i : i + size] for i in range(0, len(x), size))


def test_moments_of_batches_are_those_of_all(monkeypatch):
  monkeypatch.setattr(generation, "_TOGETHER", 10)  # Two batches at a time.
  x = rows(50) + 1e4
  found = in_batches(x)
  np.testing.assert_allclose(found.mean, np.float64(x).mean(0), rtol=1e-14)
  covariance = np.cov(np.float64(x), rowvar=False)
  np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_frechet_distance_is_that_of_scipy(shift):
  a, b = rows(60), rows(45, seed=1, shift=shift)
  found = generation.frechet_distance(in_batches(a), in_batches(b))
  assert found == pytest.approx(of_scipy(a, b), rel=1e-9)


def test_frechet_distance_of_known_gaussians():
  """Commuting covariances: the sum of squared differences of deviations."""
  a = generation.Gaussian(np.array([1.0, 2.0]), np.diag([4.0, 9.0]))
  b = generation.Gaussian(np.array([0.0, 4.0]), np.diag([1.0, 25.0]))
  found = generation.frechet_distance(a, b)
  assert found == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 5) ** 2)
  assert generation.frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_fewer_images_than_features_give_a_finite_distance():
  a, b = rows(4, width=20), rows(5, seed=1, width=20)
  a[:, 3] = 10  # A feature that no image varies.
  found = generation.frechet_distance(in_batches(a), in_batches(b))
  # Tr (A B)^1/2 is the sum of the singular values of the products of the
  # centred rows, whatever the rank.
  x, y = (
    (np.float64(z) - np.float64(z).mean(0)) / np.sqrt(len(z) - 1)
    for z in (a, b)
  )
  shared = np.linalg.svd(x @ y.T, compute_uv=False).sum()
  apart = np.float64(a).mean(0) - np.float64(b).mean(0)
  wanted = apart @ apart + (x**2).sum() + (y**2).sum() - 2 * shared
  assert found == pytest.approx(wanted, rel=1e-9)
  same = generation.frechet_distance(in_batches(a), in_batches(a))
  assert same == pytest.approx(0, abs=1e-9)


def test_features_of_other_networks_are_not_compared():
  with pytest.raises(UserError, match="6 and of 5 channels"):
    generation.frechet_distance(in_batches(rows(9)), in_batches(rows(9)[:, 1:]))


@pytest.mark.parametrize(
  ("x", "said"),
  [
    (rows(0), "0 images have no covariance"),
    (rows(1), "1 images have no covariance"),
    (rows(3) * np.float32(np.nan), "not finite"),
  ],
)
def test_what_has_no_covariance_is_refused(x, said):
  with pytest.raises(UserError, match=said):
    in_batches(x)


def test_inception_score_is_that_of_a_loop():
  logits = np.random.default_rng(0).normal(size=(40, 5)) * 3
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  p[0] = [1, 0, 0, 0, 0]
  found = generation.inception_score(np.float32(p), splits=4)
  scores = []
  order = np.random.default_rng(0).permutation(40)
  for part in np.float32(p)[order].reshape(4, 10, 5).astype(float):
    mean, total = part.mean(0), 0.0
    for row in part:
      total += sum(
        v * np.log(v / m) for v, m in zip(row, mean, strict=True) if v
      )
    scores.append(np.exp(total / 10))
  assert found.mean == pytest.approx(np.mean(scores), rel=1e-9)
  assert found.std == pytest.approx(np.std(scores), rel=1e-6)
  assert found.count == 4


def test_inception_score_of_extremes():
  sure = np.eye(5)[np.arange(50) % 5]
  score = generation.inception_score(sure, splits=1)
  assert score.mean == pytest.approx(5)
  same = np.full((50, 5), 0.2)
  assert generation.inception_score(same).mean == pytest.approx(1)
  with pytest.raises(UserError, match="no image"):
    generation.inception_score(np.zeros((0, 5)))


def test_kernel_distance_is_that_of_a_loop():
  x, y = rows(7), rows(9, seed=1)
  found = generation.kernel_distance(x, y[:7], subsets=3)

  def kernel(a, b):
    return (np.float64(a) @ np.float64(b) / WIDTH + 1) ** 3

  n, total = 7, 0.0
  for i in range(n):
    for j in range(n):
      if i != j:
        total += kernel(x[i], x[j]) + kernel(y[i], y[j])
  total /= n * (n - 1)
  total -= 2 * np.mean([kernel(a, b) for a in x for b in y[:7]])
  # Each subset is the whole of both.
  assert found.mean == pytest.approx(total, rel=1e-9)
  assert found.std == pytest.approx(0, abs=1e-9 * abs(total))
  assert generation.kernel_distance(x, y, subsets=3).std > 0


def test_kernel_distance_of_one_distribution_is_zero_on_average():
  x = np.random.default_rng(0).normal(size=(1000, 3))
  found = generation.kernel_distance(x[:500], x[500:], 20, 50)
  assert abs(found.mean) < 3 * found.std / np.sqrt(20)
  apart = generation.kernel_distance(x[:500], x[500:] + 1, 20, 50)
  assert apart.mean > 10 * found.std


def naive(real, generated, k):
  def radii(x):
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    return np.sort(apart, axis=1)[:, k]  # The first is the image itself.

  apart = np.linalg.norm(real[:, None] - generated[None], axis=-1)
  precision = (apart <= radii(real)[:, None]).any(0).mean()
  recall = (apart <= radii(generated)[None]).any(1).mean()
  return precision, recall


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_loops(k):
  rng = np.random.default_rng(0)
  real = np.float32(rng.normal(size=(60, 3)))
  generated = np.float32(rng.normal(size=(60, 3)) * 0.6 + 1.0)
  found = precision_recall(real, generated, k)
  assert found == pytest.approx(naive(real, generated, k))
  assert 0.2 < found.precision < 1
  assert 0.05 < found.recall < found.precision


def test_a_mode_that_is_missing_costs_recall_and_not_precision():
  rng = np.random.default_rng(1)
  near = rng.normal(size=(60, 3))
  real = np.concatenate([near[:30], near[30:] + 100])
  generated = np.concatenate([near[:30] + 0.01, near[:30] - 0.01])
  found = precision_recall(real, generated)
  assert found.precision == 1
  assert found.recall == 0.5
  assert precision_recall(real, real) == (1, 1)


def test_copies_are_images_of_their_own():
  points = np.random.default_rng(0).normal(size=(15, 3))
  real = np.repeat(np.float32(points), 4, axis=0)
  found = precision_recall(real, real + 1)
  assert found == (0, 0)


def test_manifolds_need_neighbours():
  with pytest.raises(UserError, match="need 4 images of each kind or more"):
    precision_recall(rows(10), rows(3))


def test_devices_do_not_change_a_figure():
  """Features of two devices, and of one: moments, and the distance."""
  images = np.random.default_rng(0).normal(size=(24, 8)).astype(np.float32)
  weights = np.random.default_rng(1).normal(size=(8, WIDTH)).astype(np.float32)

  def features(state, batch):
    return jnp.tanh(batch["x"] @ state)

  batches = [{"x": images[i : i + 8]} for i in range(0, 24, 8)]
  found = generation.gaussian(
    made for _, made in parallel.each(features, weights, batches)
  )
  alone = generation.gaussian([jax.jit(features)(weights, {"x": images})])
  for a, b in zip(found, alone, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
  other = in_batches(np.tanh(rows(30)))
  assert generation.frechet_distance(found, other) == pytest.approx(
    generation.frechet_distance(alone, other), rel=1e-6
  )
