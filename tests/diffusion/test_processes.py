"""Processes against NumPy in float64, and conversions of predictions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import parallel
from protojax.diffusion import processes
from protojax.diffusion.processes import Diffusion, Estimate, Flow
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
  for process in (Flow(), Diffusion(schedule="cosine")):
    scales, x, found, back = program(process, clean, noise, t)
    alpha, sigma = (np.asarray(s)[:, None, None, None] for s in scales)
    expected = {
      "noise": noise,
      "v": alpha * noise - sigma * clean,
      "velocity": noise - clean,
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
  counts = np.bincount(np.int64(Diffusion(steps=4).draw(keys)), minlength=4)
  assert counts.sum() == 4000
  assert np.abs(counts - 1000).max() < 4 * (4000 * 3 / 16) ** 0.5


@pytest.mark.parametrize(
  ("make", "told"),
  [
    (lambda: Flow("noise"), "prediction of a flow 'noise': choose from v, vel"),
    (lambda: Diffusion("x"), "prediction 'x': choose from noise, v, velocity"),
    (lambda: Diffusion(schedule="x"), "schedule 'x': choose from linear"),
    (lambda: Diffusion(steps=10).times(11), "11 steps of a sampler; the proc"),
    (lambda: Flow().times(0), "0 steps of a sampler: take 1 or more"),
  ],
)
def test_what_there_is_not_is_told(make, told):
  with pytest.raises(UserError, match=told):
    make()
