"""Processes against NumPy in float64, and conversions of predictions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.diffusion import processes
from protojax.diffusion.processes import Diffusion, Estimate, Flow, LogSnr
from protojax.types import UserError


def _shares(schedule, count):
  """The share of noise in each step, worked out one by one."""
  found = []
  for i in range(count):
    along = i / (count - 1)
    if schedule == "linear":
      share = (1e-4 + along * (0.02 - 1e-4)) * 1000 / count
    elif schedule == "scaled":
      share = (0.00085**0.5 + along * (0.012**0.5 - 0.00085**0.5)) ** 2
    else:
      kept = [
        np.cos((n / count + 0.008) / 1.008 * np.pi / 2) ** 2 for n in (i, i + 1)
      ]
      share = min(1 - kept[1] / kept[0], 0.999)
    found.append(share)
  return found


@pytest.mark.parametrize(
  ("schedule", "count"), [("linear", 1000), ("cosine", 50), ("scaled", 1000)]
)
def test_schedules_equal_the_twin(schedule, count):
  alpha, sigma = Diffusion(schedule=schedule, steps=count).scales(
    jnp.arange(-1.0, count)
  )
  kept, expected = 1.0, [(1.0, 0.0)]
  for share in _shares(schedule, count):
    kept *= 1 - share
    expected.append((kept**0.5, (1 - kept) ** 0.5))
  np.testing.assert_allclose(
    np.stack([alpha, sigma], 1), expected, rtol=1e-5, atol=1e-9
  )


def test_times_of_a_sampler():
  np.testing.assert_allclose(Flow().times(4), [1000, 750, 500, 250, 0])
  shifted = Flow(shift=3.0).times(2)
  np.testing.assert_allclose(shifted, [1000, 750, 0])
  np.testing.assert_array_equal(Diffusion().times(4), [999, 666, 333, 0, -1])
  every = Diffusion(steps=10).times(10)
  np.testing.assert_array_equal(every, np.arange(9, -2, -1))


def test_predictions_are_combinations_of_image_and_noise():
  rng = np.random.default_rng(0)
  clean, noise = np.float32(rng.normal(size=(2, 2, 2, 2, 1)))
  t = np.float32([100, 800])

  def there_and_back(process, clean, noise, t):
    both = Estimate(clean, noise)
    x = processes.noisy(process, both, t)
    found = {
      kind: processes.predicted(process, kind, both, t)
      for kind in processes.KINDS
    }
    back = {
      kind: processes.estimate(process, kind, x, y, t)
      for kind, y in found.items()
    }
    return process.scales(t), x, found, back

  program = jax.jit(there_and_back, static_argnums=0)
  for process in (Flow(), Diffusion(schedule="cosine"), LogSnr()):
    scales, x, found, back = program(process, clean, noise, t)
    alpha, sigma = (np.asarray(s)[:, None, None, None] for s in scales)
    expected = {
      "noise": noise,
      "v": alpha * noise - sigma * clean,
      "velocity": noise - clean,
      "clean": clean,
    }
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(x, alpha * clean + sigma * noise)
    assert set(found) == set(expected)
    for kind, value in expected.items():
      close(found[kind], value)
      close(back[kind].clean, clean)
      close(back[kind].noise, noise)


@pytest.mark.parametrize("process", [Flow(), Diffusion("v")], ids=str)
def test_what_a_network_is_trained_on(process):
  clean = np.random.default_rng(1).normal(size=(3, 2, 2, 1))
  keys = jax.random.split(parallel.key(0), 3)

  def train(clean, keys):
    drawn = processes.noised(process, clean, keys)
    both = processes.estimate(
      process, process.prediction, drawn.x, drawn.target, drawn.t
    )
    again = processes.predicted(process, process.prediction, both, drawn.t)
    error = processes.squared_error(drawn.target + 2.0, drawn.target)
    return drawn, both, again, error

  program = jax.jit(train)
  drawn, both, again, error = program(np.float32(clean), keys)
  np.testing.assert_allclose(both.clean, clean, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(drawn.target, again, rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(error, [4, 4, 4], rtol=1e-5)
  swapped, *_ = program(np.float32(clean[::-1]), keys[::-1])
  np.testing.assert_allclose(swapped.x[::-1], drawn.x, rtol=1e-5)


def test_times_to_train_on():
  keys = jax.random.split(parallel.key(1), 4000)
  t = np.float64(Flow(mean=0.5, deviation=2.0).draw(keys)) / 1000
  logits = np.log(t / (1 - t))
  np.testing.assert_allclose(logits.mean(), 0.5, atol=4 * 2 / 4000**0.5)
  np.testing.assert_allclose(logits.std(), 2.0, atol=0.1)
  process = Diffusion(schedule="cosine", steps=4)
  counts = np.bincount(np.int64(process.draw(keys)), minlength=4)
  assert counts.sum() == 4000
  assert np.abs(counts - 1000).max() < 4 * (4000 * 3 / 16) ** 0.5


def test_the_cosine_schedule_by_its_log_snr():
  t = np.float32([0, 500, 999])
  u = (t / 1000 + 0.0002) / 1.00025 * np.pi / 2
  expected = -np.log(np.cos(np.float64(u)) ** -2 - 1)
  alpha, sigma = LogSnr().scales(t)
  np.testing.assert_allclose(LogSnr().log_snr(t), expected, rtol=1e-3)
  logistic = np.sqrt(1 / (1 + np.exp(-expected)))
  np.testing.assert_allclose(alpha, logistic, atol=1e-5)
  np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-6)
  np.testing.assert_allclose(alpha, [1, 0.7071, 0.0016], atol=1e-4)
  keys = jax.random.split(parallel.key(0), 200)
  late = LogSnr(least=300.0).draw(keys)
  assert late.min() >= 300
  assert late.max() <= 999
  np.testing.assert_allclose(LogSnr().times(3), [999, 666, 333, 0])


def test_noisy_images_have_the_mean_and_variance_of_their_time():
  """Of many draws, within five deviations of the estimates."""
  clean, process = np.full((4000, 1, 1, 1), 0.5, np.float32), LogSnr()
  t = jnp.full(4000, 700.0)
  noise = processes.normal(jax.random.split(parallel.key(0), 4000), 1, 1, 1)
  x = np.asarray(processes.noisy(process, Estimate(clean, noise), t))
  alpha, sigma = (float(s[0]) for s in process.scales(t))
  assert abs(x.mean() - 0.5 * alpha) < 5 * sigma / 4000**0.5
  assert abs(x.var() - sigma**2) < 5 * sigma**2 * (2 / 4000) ** 0.5


@pytest.mark.parametrize(
  ("make", "told"),
  [
    (lambda: Flow("noise"), "prediction of a flow 'noise': choose from v, vel"),
    (lambda: LogSnr("x"), "prediction 'x': choose from noise, v, velocity, cl"),
    (lambda: Diffusion("x"), "prediction 'x': choose from noise, v, velocity"),
    (lambda: Diffusion(schedule="x"), "schedule 'x': choose from linear"),
    (lambda: Diffusion(steps=10).times(11), "11 steps of a sampler; the proc"),
    (lambda: Flow().times(0), "0 steps of a sampler: take 1 or more"),
  ],
)
def test_what_there_is_not_is_told(make, told):
  with pytest.raises(UserError, match=told):
    make()
