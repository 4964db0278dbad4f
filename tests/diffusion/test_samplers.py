"""Samplers where the perfect network is known: images of independent pixels.

A pixel is normal with mean `_MEAN` and deviation `_SPREAD`. Then a noisy pixel
is normal, too, and its clean value and noise are expected to be linear in it.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.diffusion import guidance, processes, samplers
from protojax.diffusion.processes import Diffusion, Estimate, Flow
from protojax.types import UserError

_MEAN, _SPREAD = 0.7, 0.4
_PROCESSES = [Flow(), Diffusion(), Diffusion("v", "cosine")]


def _perfect(process):
  def predict(x, t):
    alpha, sigma = (s[:, None, None, None] for s in process.scales(t))
    apart = (x - alpha * _MEAN) / (alpha**2 * _SPREAD**2 + sigma**2)
    both = Estimate(_MEAN + alpha * _SPREAD**2 * apart, sigma * apart)
    return processes.predicted(process, process.prediction, both, t)

  return predict


def _start(process, side=4):
  keys = jax.random.split(parallel.key(0), 2)
  noise = processes.normal(keys, side, side, 1)
  t = jnp.full(2, process.times(1)[0])
  # As the process leaves it: some of the mean is still there.
  return processes.noisy(
    process, Estimate(jnp.full_like(noise, _MEAN), noise), t
  )


@functools.cache
def _step(process):
  predict = _perfect(process)

  def step(x, start, end):
    return samplers.step(process, predict, x, start, end)

  return jax.jit(step)


def _walked(process, x, times):
  """Where `follow` comes to, without a program for each number of steps."""
  for start, end in itertools.pairwise(times):
    x = _step(process)(x, start, end)
  return x


def _exact(process, x):
  """The flow keeps a pixel's place among all pixels."""
  alpha, sigma = (
    np.float64(s[0]) for s in process.scales(process.times(1)[:1])
  )
  spread = np.sqrt(alpha**2 * _SPREAD**2 + sigma**2)
  return _MEAN + _SPREAD * (np.float64(x) - alpha * _MEAN) / spread


@pytest.mark.parametrize("process", _PROCESSES, ids=str)
def test_follow_comes_to_the_exact_image(process):
  x = _start(process)
  errors = [
    np.abs(_walked(process, x, process.times(n)) - _exact(process, x)).max()
    for n in (25, 100)
  ]
  assert errors[1] < 0.05
  # A method of first order: a quarter of the step, a quarter of the error.
  assert 3 < errors[0] / errors[1] < 6


@pytest.mark.parametrize("process", _PROCESSES, ids=str)
def test_inversion_gets_better_with_steps(process):
  clean = _MEAN + _SPREAD * _start(process)
  errors = []
  for n in (25, 100):
    times = process.times(n)
    up = _walked(process, clean, times[::-1])
    down = _walked(process, up, times)
    errors.append(np.abs(down - clean).max())
  assert errors[1] < 0.06
  assert errors[0] / errors[1] > 2


def test_ddim_equals_the_twin():
  """Song et al. (2021), equation 12, pixel by pixel in float64."""
  process = Diffusion()
  kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
  kept = np.append(kept, 1.0)  # At -1.
  x = _start(process)
  expected = np.float64(x)
  times = np.int64(process.times(7))
  for t, after in itertools.pairwise(times):
    a = kept[t]
    variance = a * _SPREAD**2 + 1 - a
    noise = np.sqrt(1 - a) * (expected - np.sqrt(a) * _MEAN) / variance
    clean = (expected - np.sqrt(1 - a) * noise) / np.sqrt(a)
    expected = np.sqrt(kept[after]) * clean + np.sqrt(1 - kept[after]) * noise
  found = samplers.follow(process, _perfect(process), x, process.times(7))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_euler_equals_the_twin():
  process = Flow()
  x = _start(process)
  expected = [np.float64(x)]
  for k in range(5):
    sigma = 1 - k / 5
    variance = (1 - sigma) ** 2 * _SPREAD**2 + sigma**2
    apart = (expected[-1] - (1 - sigma) * _MEAN) / variance
    velocity = sigma * apart - _MEAN - (1 - sigma) * _SPREAD**2 * apart
    expected.append(expected[-1] - velocity / 5)
  times = process.times(5)
  found = samplers.path(process, _perfect(process), x, times)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def _moments(variance, steps):
  """Mean and variance of DDPM's pixels, by its formulas for a respaced chain.

  Nichol & Dhariwal (2021): the shares of noise between the times that are left.
  """
  every = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)
  times = np.int64(Diffusion().times(steps))
  mean, spread = 0.0, 1.0
  for t, after in itertools.pairwise(times):
    kept, before = every[t], every[after]
    share = 1 - kept / before
    # E[clean | x] = c x + d.
    c = np.sqrt(kept) * _SPREAD**2 / (kept * _SPREAD**2 + 1 - kept)
    d = _MEAN * (1 - np.sqrt(kept) * c)
    of_clean = np.sqrt(before) * share / (1 - kept)
    of_x = np.sqrt(1 - share) * (1 - before) / (1 - kept)
    added = share if variance == "large" else share * (1 - before) / (1 - kept)
    mean = (of_x + of_clean * c) * mean + of_clean * d
    spread = (of_x + of_clean * c) ** 2 * spread + added * (after >= 0)
  return mean, spread


@pytest.mark.parametrize("variance", samplers.VARIANCES)
def test_ancestral_samples_have_the_moments_of_ddpm(variance):
  process, count = Diffusion(), 2 * 64 * 64
  keys = jax.random.split(parallel.key(3), 2)
  noise = processes.normal(jax.random.split(parallel.key(4), 2), 64, 64, 1)

  def sample(noise, keys):
    predict = _perfect(process)
    times = process.times(20)
    return samplers.ancestral(
      process, predict, noise, times, keys, variance=variance
    )

  program = jax.jit(sample)
  found = program(noise, keys)
  mean, spread = _moments(variance, 20)
  error = (spread / count) ** 0.5
  np.testing.assert_allclose(found.mean(), mean, atol=4 * error)
  np.testing.assert_allclose(
    found.var(), spread, atol=4 * spread * (2 / count) ** 0.5
  )
  np.testing.assert_array_equal(program(noise, keys), found)
  assert not np.array_equal(program(noise, keys[::-1]), found)


def test_many_ancestral_steps_end_at_the_target():
  mean, spread = _moments("small", 1000)
  np.testing.assert_allclose([mean, spread**0.5], [_MEAN, _SPREAD], rtol=0.02)
  with pytest.raises(ValueError, match="choose from small, large"):
    samplers.ancestral(
      Diffusion(), _perfect(Diffusion()), jnp.zeros((1, 1, 1, 1)),
      np.float32([0, -1]), jax.random.split(parallel.key(0), 1), variance="x",
    )  # fmt: skip


def test_a_guide_sees_each_step_and_changes_it():
  process = Flow()
  x = _start(process)

  def guide(x, t, both, number):
    at_last = number == 2
    np.testing.assert_array_equal(x.shape, both.noise.shape)
    clean = jnp.where(at_last, t[0] / 1000 + 5.0, both.clean)
    return both._replace(clean=clean)

  times = process.times(3)
  found = samplers.follow(process, _perfect(process), x, times, guide)
  np.testing.assert_allclose(found, 5 + 1 / 3, rtol=1e-5)


def test_guidance_is_one_batch_with_the_null_half_last():
  seen = []

  def network(x, t, condition):
    seen.append((x.shape, t.shape, np.asarray(condition["label"])))
    return x * jnp.float32(condition["label"])[:, None, None, None]

  labels = {"label": jnp.array([3, 4])}
  null = {"label": jnp.array([1, 2])}
  x, t = jnp.ones((2, 1, 1, 1)), jnp.zeros(2)
  found = guidance.guided(network, labels, null, 1.5)(x, t)
  np.testing.assert_allclose(found.ravel(), [1 + 1.5 * 2, 2 + 1.5 * 2])
  plain = guidance.guided(network, labels, null, 1.0)(x, t)
  np.testing.assert_allclose(plain.ravel(), [3, 4])
  assert [shape for shape, *_ in seen] == [(4, 1, 1, 1), (2, 1, 1, 1)]
  np.testing.assert_array_equal(seen[0][2], [3, 4, 1, 2])
  with pytest.raises(UserError, match="guidance -1 draws away"):
    guidance.guided(network, labels, null, -1.0)
