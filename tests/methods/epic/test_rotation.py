"""Rotations of channels: purity, and the matrices that raise it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from protojax.methods.epic import losses, rotation
from protojax.types import UserError


def _generator(seed=0, channels=6, size=0.5):
  rng = np.random.default_rng(seed)
  return rng.normal(0, size, (channels, channels)).astype(np.float32)


def _maps(seed=0, shape=(3, 2, 4, 6)):
  return np.random.default_rng(seed).gamma(1.0, 1.0, shape).astype(np.float32)


@pytest.mark.parametrize("kind", rotation.KINDS)
def test_matrices_have_their_inverses(kind):
  generator, unit = _generator(), np.eye(6, dtype=np.float32)
  zero = np.zeros_like(generator)
  np.testing.assert_array_equal(rotation.matrix(zero, kind), unit)
  u = rotation.matrix(generator, kind)
  exact, undone = rotation.exact(generator, kind)
  np.testing.assert_allclose(exact @ undone, unit, atol=1e-14)
  np.testing.assert_allclose(u, exact, atol=2e-6)
  if kind == "orthogonal":
    np.testing.assert_allclose(u @ u.T, unit, atol=2e-6)
  else:
    np.testing.assert_allclose(exact, linalg.expm(generator), atol=2e-6)


def _naive_purity(features, basis):
  found = np.zeros((len(features), len(basis)))
  for b, image in enumerate(np.asarray(features, np.float64)):
    pixels = [basis @ z for row in image for z in row]
    for k in range(len(basis)):
      p = max(pixels, key=lambda p, k=k: p[k])
      found[b, k] = p[k] / max(np.linalg.norm(p), 1e-8)
  return found


@pytest.mark.parametrize("kind", rotation.KINDS)
def test_purity_is_what_the_paper_writes(kind):
  features, basis = _maps(), np.asarray(rotation.matrix(_generator(), kind))
  found = jax.jit(losses.purity)(features, basis)
  np.testing.assert_allclose(found, _naive_purity(features, basis), rtol=1e-5)
  assert np.all(np.abs(found) <= 1 + 1e-6)


def test_lengths_of_patches_stand_for_those_behind_a_rotation():
  features = _maps(1)
  features[0, 0] = 0.0
  basis, _ = rotation.exact(_generator(1), "orthogonal")
  basis = basis.astype(np.float32)

  def total(basis, orthogonal):
    return jnp.sum(losses.purity(features, basis, orthogonal))

  dense, fast = (
    jax.jit(jax.value_and_grad(lambda u, o=o: total(u, o)))(basis)
    for o in (False, True)
  )
  np.testing.assert_allclose(fast[0], dense[0], rtol=1e-6)
  # Gradients agree along rotations, where the lengths stay.
  dense, fast = (g @ basis.T for _, g in (dense, fast))
  np.testing.assert_allclose(fast - fast.T, dense - dense.T, atol=1e-5)


def test_a_pixel_of_one_channel_is_pure_and_one_of_none_is_not():
  features = np.zeros((1, 2, 2, 3), np.float32)
  features[0, 1, 0, 2] = 7.0
  purity, gradient = jax.value_and_grad(
    lambda u: jnp.sum(losses.purity(features, u))
  )(jnp.eye(3))
  np.testing.assert_allclose(purity, 1.0)
  assert np.all(np.isfinite(gradient))


def test_pairs_are_images_that_a_channel_chose():
  chosen = np.array([[4, 2, -1], [7, 4, 9]], np.int32)
  index = np.array([4, 9, 2, 2], np.int32)
  mask = np.array([True, True, True, False])
  found = losses.pairs(chosen, {"index": index, "valid": mask})
  np.testing.assert_array_equal(found, [[1, 1], [0, 1], [1, 0], [0, 0]])


def test_whitening_takes_away_what_is_common():
  common = np.random.default_rng(3).gamma(1.0, 1.0, (500, 6))
  common += 3 * common.mean(axis=1, keepdims=True)
  moment = common.T @ common / len(common)
  s, undone = rotation.whitening(moment, 0.0)
  np.testing.assert_allclose(s @ undone, np.eye(6), atol=1e-12)
  np.testing.assert_allclose(s, s.T, atol=1e-12)
  np.testing.assert_allclose(np.trace(s), 6.0)
  white = s @ moment @ s
  np.testing.assert_allclose(white, white[0, 0] * np.eye(6), atol=1e-10)
  # Shrunk far enough it leaves channels as they are.
  unit, _ = rotation.whitening(moment, 1e6)
  np.testing.assert_allclose(unit, np.eye(6), atol=1e-4)


def test_the_polar_factor_is_the_best_rotation():
  alignment = _generator(2, size=1.0)
  best = losses.polar(alignment)
  np.testing.assert_allclose(best @ best.T, np.eye(6), atol=1e-6)
  expected, _ = linalg.orthogonal_procrustes(np.eye(6), alignment)
  np.testing.assert_allclose(best, expected, atol=1e-5)
  for seed in range(20):
    other, _ = rotation.exact(_generator(seed), "orthogonal")
    assert np.sum(other * alignment) <= np.sum(best * alignment)


def test_schedules_are_the_papers():
  rounds = range(10)
  linear = (100, 90, 81, 71, 62, 52, 43, 33, 24, 14)
  assert rotation.schedule("linear", 10) == linear
  assert rotation.schedule("exp", 10) == tuple(
    int(100 * 0.05 ** (s / 10)) for s in rounds
  )
  # In the first round log 2 / log 2 is 1, whatever its float makes of it.
  assert rotation.schedule("log", 10) == tuple(
    int(5 + 95 * np.log(1 + 0.1 * (10 - s)) / np.log(2) + 1e-9) for s in rounds
  )
  # Its curve depends on the number of rounds. These are of the authors' code.
  assert rotation.schedule("log", 5) == (100, 83, 66, 47, 27)
  assert rotation.schedule("log", 20) == (
    *(100, 97, 94, 90, 87, 84, 80, 77, 73, 69),
    *(64, 60, 55, 50, 45, 40, 34, 27, 20, 13),
  )
  assert min(rotation.schedule("exp", 10, most=8, least=5)) == 5


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (("unitary", "adam", "linear"), r"kind='unitary': choose from orthogonal"),
    (("orthogonal", "sgd", "linear"), r"solver='sgd': choose from procrustes"),
    (("orthogonal", "adam", "cosine"), r"schedule='cosine': choose from linea"),
  ],
)
def test_unknown_settings_are_named(settings, message):
  with pytest.raises(UserError, match=message):
    rotation.require_known(*settings)
