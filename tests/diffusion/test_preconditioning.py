"""The best linear guess of a prediction: against least squares, by example."""

import jax.numpy as jnp
import numpy as np
import pytest

from protojax.diffusion import preconditioning, processes
from protojax.diffusion.processes import Diffusion, Estimate, Flow

PROCESSES = (Flow(), Flow("v"), Diffusion(), Diffusion("v", "cosine"))


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("time", [100.0, 500.0, 900.0])
def test_it_is_least_squares(process, time):
  rng = np.random.default_rng(0)
  clean = jnp.asarray(0.4 * rng.normal(size=(1, 400, 400, 1)), jnp.float32)
  noise = jnp.asarray(rng.normal(size=clean.shape), jnp.float32)
  both, t = Estimate(clean, noise), jnp.full(1, time)
  x = np.asarray(processes.noisy(process, both, t))
  target = processes.predicted(process, process.prediction, both, t)
  found = preconditioning.linear(process, t, 0.16)
  factor = np.sum(x * target) / np.sum(x**2)
  np.testing.assert_allclose(float(found.factor[0, 0, 0, 0]), factor, atol=0.02)
  rest = np.sqrt(np.mean((target - factor * x) ** 2))
  np.testing.assert_allclose(float(found.spread[0, 0, 0, 0]), rest, rtol=0.03)


def test_without_a_variance_the_output_is_the_prediction():
  x = jnp.ones((2, 1, 1, 3))
  t = jnp.full(2, 500.0)
  output = 7 * x
  found = preconditioning.conditioned(Flow(), x, t, output, 0.0)
  np.testing.assert_array_equal(found, output)
  # Velocity at half of the noise: (0.5 - 0.5 s^2) / (0.25 (1 + s^2)).
  found = preconditioning.conditioned(Flow(), x, t, 0 * x, 0.2)
  np.testing.assert_allclose(found, 0.4 / 0.3, rtol=1e-5)
