"""Self-prototypes against NumPy's singular vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.diffusion import self_prototypes

# As many variances as channels, far enough apart for their order.
_SHAPES = {"more tokens": (40, 12), "more channels": (9, 20)}


def _keys(shape, seed=0):
  tokens, channels = shape
  rng = np.random.default_rng(seed)
  turn = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
  scale = 0.7 ** np.arange(channels)
  drawn = rng.normal(size=(2, 3, tokens, channels)) * scale
  return np.float32(drawn @ turn + rng.normal(size=channels))


def _vectors(keys, count):
  """Of each example: the mean, and axes up to their sign."""
  mean = keys.mean(-2, dtype=np.float64)
  return mean, np.linalg.svd(keys - mean[..., None, :])[2][..., :count, :]


def _aligned(axes, wanted):
  return np.abs(np.sum(np.asarray(axes) * wanted, axis=-1))


@pytest.mark.parametrize("shape", _SHAPES.values(), ids=_SHAPES)
def test_axes_are_singular_vectors(shape):
  keys = _keys(shape)
  mean, wanted = _vectors(keys, 4)
  exact = jax.jit(self_prototypes.exact, static_argnums=1)(keys, 4)
  np.testing.assert_allclose(exact.mean, mean, atol=1e-5)
  np.testing.assert_allclose(_aligned(exact.axes, wanted), 1, atol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(exact.axes, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("shape", _SHAPES.values(), ids=_SHAPES)
def test_followed_axes_come_to_the_same(shape):
  keys = _keys(shape)
  _, wanted = _vectors(keys, 4)
  axes = self_prototypes.start(keys.shape, 4)
  step = jax.jit(self_prototypes.followed)
  first = step(keys, axes).axes
  for _ in range(8):
    axes = step(keys, axes).axes
  np.testing.assert_allclose(_aligned(axes, wanted), 1, atol=5e-3)
  assert _aligned(first, wanted).mean() < _aligned(axes, wanted).mean()
  # Keys that have moved a little are followed in one step.
  moved = keys + 0.01 * _keys(shape, 1)
  _, wanted = _vectors(moved, 2)
  np.testing.assert_allclose(
    _aligned(step(moved, axes).axes[..., :2, :], wanted), 1, atol=1e-3
  )


def test_projections_of_an_axis_go_from_0_to_1_and_turn_about_with_it():
  keys = jnp.asarray(_keys(_SHAPES["more tokens"]))
  basis = self_prototypes.exact(keys, 4)
  along = self_prototypes.projected(keys, basis)
  np.testing.assert_allclose(along.min(-2), 0, atol=1e-6)
  np.testing.assert_allclose(along.max(-2), 1, atol=1e-5)
  turned = self_prototypes.projected(keys, basis._replace(axes=-basis.axes))
  np.testing.assert_allclose(turned, 1 - along, atol=1e-5)


def test_too_many_axes_are_refused():
  with pytest.raises(ValueError, match="10 axes of 9 tokens of 20 channels"):
    self_prototypes.exact(jnp.zeros((9, 20)), 10)
