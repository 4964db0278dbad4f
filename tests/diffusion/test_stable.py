"""Stable Diffusion of a tiny folder: numbers of diffusers, without it.

`test_stable_torch.py` compares the same numbers with diffusers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.diffusion import samplers
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.diffusion.stable import base, schedule, unet_file
from protojax.diffusion.stable.schedule import Schedule
from protojax.diffusion.stable.unet import UNet
from protojax.diffusion.transformer import Text
from protojax.types import UserError
from tests.backbones.test_goldens import projected
from tests.diffusion import published, stable_folder

# Projections, by `projected`: as diffusers and transformers computed them.
GOLDENS = {
  "unet": [-0.079307, 0.204378, -0.226282, 0.019886],
  "keys": [-0.199698, 0.049784, 0.041336, 0.032743],
  "text": [0.098043, -0.055221, 0.445879, -0.318175],
}
TEXTS = ["red cup", "a"]


def close(name, found):
  np.testing.assert_allclose(projected(found), GOLDENS[name], atol=1e-4)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
  return base.load(stable_folder.write(tmp_path_factory.mktemp("stable")))


@pytest.fixture(scope="module")
def seen(read):
  """Prediction and captures of the formula's latents of odd sides."""
  model, weights = read
  x, t, text = map(jnp.asarray, stable_folder.given())
  said = Text(text, jnp.ones(text.shape[:2], bool))
  step = jax.jit(model.seen, static_argnums=4)
  return step(weights, x, t, said, model.steered)


def test_the_prediction_is_that_of_diffusers(read, seen):
  model, _ = read
  assert isinstance(model, GuidableDiffusion)
  found, kept = seen
  assert found.dtype == jnp.float32
  close("unet", found)
  assert model.steered == tuple(f"up_blocks.1.attentions.{j}" for j in (0, 1))
  close("keys", kept.keys[0])
  assert kept.words.shape == (2, 1, 5 * 7, 3)
  np.testing.assert_allclose(jnp.sum(kept.words, axis=-1), 1, rtol=1e-5)


def test_states_of_words_are_those_of_transformers(read):
  model, weights = read
  caption = model.caption(TEXTS)
  found = jax.jit(model.read)(weights, caption)
  close("text", found.tokens)
  assert bool(jnp.all(found.valid))


def test_texts_are_padded_as_the_folder_says(read):
  model, _ = read
  rows = model.words.tokenizer.rows
  ids = model.caption(TEXTS)["tokens"]
  pieces = ["<|startoftext|>", "red</w>", "cup</w>", "<|endoftext|>"]
  assert ids.shape == (2, stable_folder.LENGTH)
  assert ids[0, :4].tolist() == [rows[x] for x in pieces]
  assert set(ids[0, 4:].tolist()) == {rows["!"]}
  assert model.places("red cup, a RED cap", "red") == (1, 5)
  assert model.places("red cup, a RED cap", "cap") == (6, 7, 8)
  with pytest.raises(UserError, match="'blue' does not stand in 'red cup'"):
    model.places("red cup", "blue")
  with pytest.raises(UserError, match=r"18 tokens.*16 at most"):
    model.caption(["a" * 16])


def test_grids_are_halved_upwards(read):
  model, _ = read
  assert model.blocks == (
    "down_blocks.0.attentions.0",
    "mid_block.attentions.0",
    "up_blocks.1.attentions.0",
    "up_blocks.1.attentions.1",
  )
  assert model.grid(46, 155, ["mid_block.attentions.0"]) == (23, 78)
  assert model.grid(46, 155, model.steered) == (46, 155)
  with pytest.raises(UserError, match="of 2 grids"):
    model.grid(4, 4, model.blocks)
  with pytest.raises(UserError, match="no block 'up': this model has down_b"):
    model.grid(4, 4, ["up"])


def test_times_and_shares():
  ours = Schedule()
  assert ours.times(50)[:2].tolist() == [981, 961]
  assert ours.times(50)[-2:].tolist() == [1, 0]
  assert Schedule(clean=True).times(1).tolist() == [1, -1]
  found = Schedule(spacing="trailing").times(4)
  assert found.tolist() == [999, 749, 499, 249, 0]
  for steps in (0, 1000):
    with pytest.raises(UserError, match="has times for 1 to 999"):
      ours.times(steps)
  shares = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
  alpha, sigma = ours.scales(np.float32([-1, 0, 999]))
  kept = np.cumprod(1 - shares)
  np.testing.assert_allclose(alpha**2, [1, kept[0], kept[999]], rtol=1e-5)
  np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["noise", "v"])
def test_a_step_is_that_of_ddim(kind):
  """Song et al. (2021), equation 12, with the image of either prediction."""
  ours = Schedule(kind)
  x, _, _ = stable_folder.given()
  out = np.cos(x)
  (a, s), (b, r) = (
    [float(y[0]) for y in ours.scales(np.float32([t]))] for t in (501, 481)
  )
  clean = (x - s * out) / a if kind == "noise" else a * x - s * out
  noise = out if kind == "noise" else a * out + s * x
  found = samplers.follow(
    ours, lambda x, t: jnp.cos(x), jnp.asarray(x), np.float32([501, 481])
  )
  np.testing.assert_allclose(found, b * clean + r * noise, rtol=1e-4, atol=1e-5)


def test_schedulers_of_other_kinds_are_told(tmp_path):
  path = tmp_path / "scheduler_config.json"
  usual = stable_folder.SCHEDULER
  stable_folder.write_json(path, usual)
  assert schedule.read(path) == Schedule("v")
  stable_folder.write_json(path, {**usual, "_class_name": "DDIMScheduler"})
  assert not schedule.read(path).clean
  for changed, why in (
    ({"prediction_type": "sample"}, "=sample, expected epsilon or v_pred"),
    ({"clip_sample": True, "thresholding": True}, "clip_sample=True; thresh"),
    ({"beta_start": 0.5}, r"from 0\.5 to 0\.012"),
    ({"num_train_timesteps": 1}, "1 times and an offset of 1"),
    ({"beta_end": "x"}, "beta_end"),
  ):
    stable_folder.write_json(path, {**usual, **changed})
    with pytest.raises(UserError, match=why):
      schedule.read(path)


@pytest.mark.slow
def test_the_full_size_has_the_published_number():
  net, channels = unet_file.made(published.UNET["2.1"], "unet")
  shapes = unet_file.shapes(net, channels)
  count = sum(x.size for x in jax.tree.leaves(shapes))
  assert count == published.COUNTS["2.1"][0]


@pytest.mark.slow
def test_gradients_that_are_computed_again_are_the_same():
  """Through a U-Net of one level, by latents and words."""
  x, t, text = map(jnp.asarray, stable_folder.given())
  net = UNet((8,), (2,), (True,), blocks=1, latent=2, groups=4)
  variables = net.init(jax.random.key(0), x, t, text)

  def gradient(net):
    def loss(x, text):
      return jnp.sum(net.apply(variables, x, t, text) ** 2)

    return jax.jit(jax.grad(loss, argnums=(0, 1)))(x, text)

  for one, other in zip(
    gradient(net), gradient(net.clone(remat=True)), strict=True
  ):
    assert jnp.any(one != 0)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_half_of_the_memory_changes_little(seen, tmp_path):
  folder = stable_folder.write(tmp_path) / "unet"
  half, variables, _ = unet_file.read(folder, jnp.bfloat16)
  kinds = {leaf.dtype for leaf in jax.tree.leaves(variables)}
  assert kinds == {np.dtype(jnp.bfloat16)}
  x, t, text = map(jnp.asarray, stable_folder.given())
  found, (expected, _) = jax.jit(half.apply)(variables, x, t, text), seen
  error = jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)
  assert found.dtype == jnp.float32
  assert 0 < error < 0.03
