"""How a step draws latents, and pixels on their way."""

import jax
import numpy as np

from protojax import parallel
from protojax.diffusion import flips, pixels


def test_a_step_draws_the_flip_and_the_latents():
  count = 400
  mean = np.zeros((count, 2, 2, 1), np.float32)
  spread = np.full_like(mean, 0.1)
  batch = {
    "latent": np.concatenate([mean, spread], -1),
    "flipped": np.concatenate([mean + 10, spread], -1),
  }
  keys = jax.random.split(parallel.key(0), count)
  draw = jax.jit(flips.drawn)
  found = np.asarray(draw(batch, keys))
  flipped = found > 5
  assert np.all(flipped.all((1, 2, 3)) == flipped.any((1, 2, 3)))
  assert abs(flipped.mean() - 0.5) < 4 * 0.5 / count**0.5
  noise = found - 10 * flipped
  np.testing.assert_allclose(noise.std(), 0.1, rtol=4 / (2 * 4 * count) ** 0.5)
  backwards = draw({n: x[::-1] for n, x in batch.items()}, keys[::-1])
  np.testing.assert_array_equal(backwards[::-1], found)


def test_pixels_go_out_and_come_back():
  values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)

  def there_and_back(values):
    x = pixels.signed(values)
    return x, pixels.as_bytes(x), pixels.as_bytes(3 * x)

  x, back, beyond = jax.jit(there_and_back)(values)
  assert (x.min(), x.max()) == (-1, 1)
  np.testing.assert_array_equal(back, values)
  assert (beyond[0, 0, 0], beyond[0, -1, -1]) == (0, 255)
