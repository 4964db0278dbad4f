"""Bias fields, Rician noise and powers of grey images."""

import jax
import jax.numpy as jnp
import numpy as np

from protojax.data import scanner


def test_a_bias_field_is_smooth_and_bounded():
  image = jnp.full((24, 32, 3), 100.0)
  keys = jax.random.split(jax.random.key(0), 20)

  @jax.jit
  def made(keys):
    return jax.vmap(lambda k: scanner.biased(image, scanner.bias(k)))(keys)

  fields = np.asarray(made(keys)) / 100
  assert np.all(np.abs(fields - 1) <= 0.3 + 1e-5)
  assert np.abs(fields - 1).max() > 0.1
  np.testing.assert_array_equal(fields[..., 0], fields[..., 1])
  for axis in (1, 2):
    assert np.abs(np.diff(fields, axis=axis)).max() < 0.1


def test_rician_noise_has_its_moments():
  """E m^2 = a^2 + 2 s^2; without signal, the mean is s sqrt(pi / 2)."""
  key = jax.random.key(1)
  for level in (0.0, 100.0):
    image = jnp.full((200, 200, 1), level)
    made = np.asarray(jax.jit(scanner.noisy)(image, (key, jnp.float32(8.0))))
    np.testing.assert_allclose(np.mean(made**2), level**2 + 2 * 64, rtol=0.02)
    if not level:
      np.testing.assert_allclose(made.mean(), 8 * np.sqrt(np.pi / 2), rtol=0.02)


def test_a_power_keeps_black_white_and_order():
  image = jnp.linspace(0, 255, 64).reshape(8, 8, 1)
  power = scanner.gamma(jax.random.key(3))
  made = np.asarray(scanner.powered(image, power)).ravel()
  assert np.all(np.diff(made) > 0)
  np.testing.assert_allclose(made[[0, -1]], [0, 255], atol=1.0)
  np.testing.assert_allclose(
    made, 255 * (np.arange(64) / 63) ** power, atol=1.0
  )
