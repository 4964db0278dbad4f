"""Latents of images and mirror images, and how a step draws them."""

import jax
import numpy as np

from protojax import parallel
from protojax.diffusion import flips, pixels
from protojax.diffusion.autoencoder import Autoencoder


def test_mirror_images_are_encoded_themselves():
  module = Autoencoder((2, 2), blocks=1, latent=1, groups=1, scale=0.5)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (1, 4, 4, 3), np.uint8)
  shapes = jax.eval_shape(module.init, jax.random.key(0), np.float32(images))
  variables = jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes
  )

  def both(variables, images):
    direct = module.apply(variables, pixels.signed(images), method="encode")
    return flips.encoded(module, variables, {"image": images}), direct

  program = jax.jit(both)
  (found, direct), (swapped, _) = (
    program(variables, x) for x in (images, images[:, :, ::-1])
  )
  found, swapped = found["latents"], swapped["latents"]
  assert found.shape == (1, 2, 2, 2, 2)
  np.testing.assert_allclose(swapped[:, ::-1], found, rtol=1e-4, atol=1e-5)
  # Not the mirrored latents: strides look to one side.
  assert np.abs(found[:, 0, :, ::-1] - found[:, 1]).max() > 1e-3
  np.testing.assert_allclose(found[:, 0, ..., :1], direct.mean, rtol=1e-4)
  np.testing.assert_allclose(found[:, 0, ..., 1:], direct.deviation, rtol=1e-4)


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
  np.testing.assert_array_equal(draw(batch, keys), found)


def test_pixels_go_out_and_come_back():
  values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  x = pixels.signed(values)
  assert (x.min(), x.max()) == (-1, 1)
  np.testing.assert_array_equal(pixels.as_bytes(x), values)
  beyond = np.float32([[[[-3.0], [3.0]]]])
  np.testing.assert_array_equal(pixels.as_bytes(beyond).ravel(), [0, 255])
