"""The sampler that holds objects, on a model whose score is known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax.diffusion import (
  guidance,
  regeneration,
  regions,
  samplers,
  self_prototypes,
)
from protojax.diffusion.processes import Diffusion, Flow
from protojax.diffusion.steering import Settings, Strength
from protojax.diffusion.transformer import Text
from protojax.types import UserError
from tests.diffusion import steered_toy
from tests.diffusion.steered_toy import Toy

SMALL = Settings(steps=10, guidance=2.0, semantic=1.0, components=4, exact=True)
CONDITION = 0.8
MODEL = Toy()


@functools.cache
def _inverted(model, steps, count=2):
  text = steered_toy.texts(count).example
  return jax.jit(
    lambda weights, images: regeneration.inverted(
      model, weights, images, text, steps
    )
  )(model.arrays, steered_toy.images(count))


@functools.cache
def _program(settings, count):
  """One program for all weights, boxes and prototypes."""

  def draw(weights, path, objects, strength, prototypes):
    texts = steered_toy.texts(count, CONDITION)
    return regeneration.regenerated(
      MODEL, weights, path, texts, objects, settings, strength, prototypes
    )

  return jax.jit(draw)


def _drawn(
  settings, semantic=1.0, shallow=1.0, objects=None, count=2, prototypes=None
):
  path = _inverted(MODEL, settings.steps, count)
  objects = objects or steered_toy.objects(count)
  strength = Strength(jnp.float32(semantic), jnp.float32(shallow))
  draw = _program(settings, count)
  return path, draw(MODEL.arrays, path, objects, strength, prototypes)


@pytest.mark.parametrize(
  "process",
  [
    Diffusion(schedule="scaled"),
    pytest.param(Diffusion("v"), marks=pytest.mark.slow),
    pytest.param(Flow(), marks=pytest.mark.slow),
  ],
  ids=["noise", "v", "flow"],
)
def test_an_inversion_is_undone_the_better_the_more_steps(process):
  model = Toy(process)
  errors = []
  for steps in (10, 40, 160):
    path = _inverted(model, steps)
    text = steered_toy.texts(2).example

    def predict(x, t, text=text):
      return model.predict(model.arrays, x, t, text)

    again = samplers.follow(process, predict, path[0], model.times(steps))
    errors.append(np.abs(again - steered_toy.images()).max())
  assert errors[2] < errors[1] < errors[0]
  assert errors[2] < 0.1
  # What is left of the image is its noise: of variance 1 where it is exact.
  assert abs(float(jnp.std(_inverted(model, 160)[0])) - 1) < 0.2


def _plain(settings, path):
  """Guided sampling from the inverted noise, and nothing else."""
  model = MODEL
  texts = steered_toy.texts(2, CONDITION)
  predict = guidance.guided(
    lambda x, t, text: model.predict(model.arrays, x, t, Text(*text)),
    tuple(texts.wanted),
    tuple(texts.negative),
    settings.guidance,
  )
  times = model.times(settings.steps)
  return samplers.follow(model.process, predict, path[0], times)


@pytest.mark.parametrize("kept", [0.0, 1.0], ids=["left out", "weight 0"])
def test_without_weights_it_is_plain_sampling(kept):
  settings = dataclasses.replace(SMALL, semantic=kept, shallow=kept)
  path, found = _drawn(settings, semantic=0.0, shallow=0.0)
  np.testing.assert_allclose(found.x, _plain(settings, path), atol=1e-6)


@pytest.mark.slow
def test_two_passes_draw_what_one_does():
  path, found = _drawn(SMALL)
  basis = regeneration.extracted(
    MODEL, MODEL.arrays, path[0], steered_toy.texts(2, CONDITION), SMALL
  )
  assert basis.axes.shape == (6, 2, 2, 4, steered_toy.CHANNELS)
  _, again = _drawn(SMALL, prototypes=basis)
  np.testing.assert_allclose(found.x, again.x, atol=1e-5)
  np.testing.assert_array_equal(found.trace.region, again.trace.region)


@pytest.mark.slow
def test_followed_axes_do_as_well_as_exact_ones():
  path, exact = _drawn(SMALL, semantic=30.0)
  _, followed = _drawn(dataclasses.replace(SMALL, exact=False), semantic=30.0)
  moved = np.abs(exact.x - _plain(SMALL, path)).max()
  assert np.abs(exact.x - followed.x).max() < 0.1 * moved


def test_the_losses_fall():
  """A step against a gradient: the sign of the code is that of descent."""
  _, free = _drawn(SMALL, semantic=0.0, shallow=0.0)
  _, keys = _drawn(SMALL, semantic=30.0, shallow=0.0)
  last = np.asarray(free.trace.loss)[-1]
  assert (np.asarray(keys.trace.loss)[-1] < 0.9 * last).all()
  path, boxes = _drawn(SMALL, semantic=0.0, shallow=5.0)
  factor = regions.pull(steered_toy.objects(), (8, 8), 3, 20.0)
  apart = [regions.shallow_loss(x, path[-1], factor) for x in (boxes.x, free.x)]
  assert (apart[0] < 0.7 * apart[1]).all()


def test_a_step_descends_a_quadratic_loss():
  """x0 is not made anew: a step is moved by sigma, sigma' and the gradient."""
  model = Toy()
  x = steered_toy.images()
  prediction = jnp.zeros_like(x)
  start, end = jnp.float32(600), jnp.float32(500)
  gradient = x - 1.0  # of |x - 1|^2 / 2
  free, held = (
    regeneration._after(model, x, prediction, start, end, g)
    for g in (None, gradient)
  )
  _, sigma = model.process.scales(jnp.stack([start, end]))
  np.testing.assert_allclose(
    held - free, -sigma[0] * sigma[1] * gradient, atol=1e-5
  )
  assert jnp.sum((held - 1) ** 2) < jnp.sum((free - 1) ** 2)


@pytest.mark.slow
def test_strong_boxes_hold_the_example_and_the_code_would_go_beyond():
  path, found = _drawn(SMALL, semantic=0.0, shallow=1e4)
  cells = steered_toy.objects().cells[0]
  there = np.asarray(regions.inside(cells[None], (8, 8)))[0, :2].any(0)
  apart = np.abs(found.x - path[-1]).max(-1)
  free = np.abs(_plain(SMALL, path) - path[-1]).max(-1)
  assert apart[:, there].mean() < 0.35 * free[:, there].mean()
  np.testing.assert_allclose(apart[:, ~there], free[:, ~there], atol=1e-5)
  unlimited = dataclasses.replace(SMALL, limited=False)
  _, beyond = _drawn(unlimited, semantic=0.0, shallow=100.0)
  assert np.abs(beyond.x).max() > 100


@pytest.mark.slow
def test_the_gradient_of_the_loss_of_keys_is_that_of_differences():
  model = Toy()
  x, example = (steered_toy.images(1, seed) for seed in (1, 2))
  blocks = model.blocks
  text = steered_toy.texts(1).wanted
  region = jnp.arange(16)[None] % 3 == 0
  t = jnp.full(1, 500.0)

  def seen(x):
    return model.seen(model.arrays, x, t, text, blocks)[1].keys

  basis = self_prototypes.exact(seen(example), 4)
  wanted = self_prototypes.projected(seen(example), basis)
  ends = seen(x) - basis.mean[..., None, :]
  ends = jnp.einsum("nbld,nbkd->nblk", ends, basis.axes)
  least, most = ends.min(-2, keepdims=True), ends.max(-2, keepdims=True)

  def loss(x):
    along = self_prototypes.projected(seen(x), basis)
    return jnp.sum(regeneration.semantic_loss(along, wanted, region))

  def fixed(x):
    """With the ends of the axes held, as their gradient is left out."""
    along = seen(x) - basis.mean[..., None, :]
    along = jnp.einsum("nbld,nbkd->nblk", along, basis.axes)
    along = (along - least) / (most - least)
    return jnp.sum(regeneration.semantic_loss(along, wanted, region))

  gradient = jax.jit(jax.grad(loss))(x)
  fixed = jax.jit(fixed)
  rng = np.random.default_rng(0)
  for _ in range(4):
    way = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    step = 1e-2
    found = (fixed(x + step * way) - fixed(x - step * way)) / (2 * step)
    np.testing.assert_allclose(
      jnp.sum(gradient * way), found, rtol=2e-2, atol=1e-4
    )
  assert float(loss(example)) < 1e-10


@pytest.mark.slow
def test_padding_of_boxes_changes_nothing():
  _, found = _drawn(SMALL)
  _, more = _drawn(SMALL, objects=steered_toy.objects(most=6))
  np.testing.assert_allclose(found.x, more.x, atol=1e-6)


@pytest.mark.slow
def test_an_image_is_drawn_alike_beside_others():
  _, both = _drawn(SMALL, count=2)
  _, one = _drawn(SMALL, count=1)
  np.testing.assert_allclose(both.x[:1], one.x, atol=1e-5)


def test_settings_that_do_not_fit_are_said():
  with pytest.raises(UserError, match="components is 13; the blocks that are"):
    _drawn(dataclasses.replace(SMALL, components=13))
  with pytest.raises(UserError, match="region 'tr': choose from both, cross"):
    Settings(region="tr")
