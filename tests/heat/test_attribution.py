"""Attribution maps: one forward for all, and what a loop of them gives."""

import functools
import itertools

import cv2
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.backbones.backbone import Layer
from protojax.heat import attribution, receptive_field
from protojax.prototypes import distance, pooling, similarity

LAYERS = (Layer(3, 2), Layer(3, 1), Layer(3, 2))
SIZE, GRID, CHANNELS = 16, 4, 6
IMAGES, ASKED = 3, 5
# How often the network ran, jit or not.
RUNS = []


def kernels():
  rng = np.random.default_rng(0)
  sizes = (3, 8, 8, CHANNELS)
  return [
    jnp.asarray(0.5 * rng.normal(size=(3, 3, a, b)), jnp.float32)
    for a, b in itertools.pairwise(sizes)
  ]


def embed(images):
  jax.debug.callback(lambda: RUNS.append(1))
  x = images / 255 - 0.5
  for layer, kernel in zip(LAYERS, kernels(), strict=True):
    x = jax.lax.conv_general_dilated(
      nn.relu(x) if layer is not LAYERS[0] else x,
      kernel,
      (layer.stride, layer.stride),
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
  return nn.sigmoid(x)


@pytest.fixture(scope="module")
def asked():
  """Images, prototypes [b q h1 w1 d], cells, and positions in the source."""
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
  shape = (IMAGES, ASKED, 1, 2, CHANNELS)
  prototypes = jnp.asarray(rng.uniform(size=shape), jnp.float32)
  cells = rng.integers(0, GRID * (GRID - 1), (IMAGES, ASKED), np.int32)
  return images, prototypes, cells, np.array([7, 3, 100], np.int32)


def score(pixels, prototype, cell, metric):
  """Similarity of one prototype to one image, by the model's own code."""
  features = embed(pixels[None])
  found = pooling.at(features, prototype[None], cell[None, None], metric)
  return metric.activation(found[0, 0])


@functools.cache
def gradient(metric):
  return jax.jit(jax.grad(functools.partial(score, metric=metric)))


def loop(asked, one):
  """Maps [b q H W] of `one(pixels, prototype, cell, position)`."""
  return np.array(
    [
      [one(pixels, *pair, n) for pair in zip(own, cells, strict=True)]
      for pixels, own, cells, n in zip(*asked, strict=True)
    ]
  )


def size(gradients):
  return np.abs(gradients).max(axis=-1)


@functools.cache
def compiled(function, metric, **settings):
  def run(images, prototypes, cells, index, key):
    noisy = function is attribution.smoothgrad
    drawn = {"key": key, "index": index} if noisy else {}
    asked = images, prototypes, cells
    return function(embed, *asked, metric, **drawn, **settings)

  # What is to be compiled runs a few times only.
  options = {"xla_backend_optimization_level": 0}
  return jax.jit(run, compiler_options=options)


def maps(function, metric, asked, **settings):
  """Maps of all that is asked, and how often the network ran."""
  RUNS.clear()
  run = compiled(function, metric, **settings)
  found = jax.block_until_ready(run(*asked, jax.random.key(4)))
  jax.effects_barrier()
  return np.asarray(found), len(RUNS)


@pytest.mark.parametrize(("name", "at_once"), [("log", 10), ("cosine", 2)])
def test_saliency_equals_a_loop_and_runs_once(asked, name, at_once):
  metric = similarity.load(name)
  found, runs = maps(attribution.saliency, metric, asked, at_once=at_once)
  assert runs == 1

  def one(pixels, prototype, cell, position):
    del position
    return size(gradient(metric)(pixels.astype(np.float32), prototype, cell))

  expected = loop(asked, one)
  assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * expected.max())


@pytest.mark.parametrize(("copies", "expected_runs"), [(3, 1), (9, 3)])
def test_smoothgrad_equals_a_loop_and_takes_copies_together(
  asked, copies, expected_runs
):
  metric, key = similarity.load("log"), jax.random.key(4)
  found, runs = maps(
    attribution.smoothgrad, metric, asked, copies=copies, noise=0.1
  )
  assert runs == expected_runs

  def one(pixels, prototype, cell, position):
    gradients = []
    for i in range(copies):
      draw = jax.random.fold_in(jax.random.fold_in(key, position), i)
      noise = 25.5 * jax.random.normal(draw, pixels.shape)
      gradients.append(gradient(metric)(pixels + noise, prototype, cell))
    return size(np.mean(gradients, axis=0))

  expected = loop(asked, one)
  assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * expected.max())


@pytest.mark.parametrize("name", ["log", "linear", "cosine"])
def test_relevance_sums_up_to_the_similarity_and_runs_once(asked, name):
  metric = similarity.load(name)
  found, runs = maps(attribution.prp, metric, asked)
  assert runs == 1
  exact = jax.jit(functools.partial(score, metric=metric))
  expected = loop(asked, lambda pixels, *pair: exact(pixels, *pair[:2]))
  assert_allclose(found.sum(axis=(2, 3)), expected, rtol=1e-3, atol=1e-6)


def test_relevance_of_a_patch_that_is_the_prototype_is_finite(asked):
  images, prototypes, cells, index = asked
  windows = distance.patches(jax.jit(embed)(images), 1, 2)
  windows = windows.reshape(IMAGES, -1, *prototypes.shape[2:])
  own = jnp.stack([windows[n][cells[n]] for n in range(IMAGES)])
  metric = similarity.load("log")
  found, _ = maps(attribution.prp, metric, (images, own, cells, index))
  highest = -np.log(similarity.EPSILON)
  assert_allclose(found.sum(axis=(2, 3)), highest, rtol=1e-3)


def test_relevance_of_several_prototypes_is_that_of_each(asked):
  metric = similarity.load("cosine")
  together, _ = maps(attribution.prp, metric, asked)
  images, prototypes, cells, index = asked
  for q in range(ASKED):
    alone = images, prototypes[:, q : q + 1], cells[:, q : q + 1], index
    expected, _ = maps(attribution.prp, metric, alone)
    scale = 1e-5 * np.abs(expected).max()
    assert_allclose(together[:, q : q + 1], expected, rtol=1e-4, atol=scale)


def test_upsampling_equals_opencv_pair_by_pair(asked):
  images, prototypes, _, _ = asked
  metric = similarity.load("log")
  RUNS.clear()
  upsample = functools.partial(attribution.upsampling, embed, similarity=metric)
  found = jax.jit(upsample)(images, prototypes)
  jax.effects_barrier()
  assert len(RUNS) == 1
  features = jax.jit(embed)(images)
  for n in range(IMAGES):
    distances = metric.distance(features[n : n + 1], prototypes[n])[0]
    similarities = np.moveaxis(np.array(metric.activation(distances)), -1, 0)
    for q, one in enumerate(similarities):
      expected = cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
      assert_allclose(found[n, q], expected, atol=1e-5)


def test_the_receptive_field_is_its_box(asked):
  cells = asked[2]
  field = receptive_field.chain(LAYERS, SIZE, height=1, width=2)
  mask = functools.partial(attribution.receptive_field, field)
  found = np.array(jax.jit(mask)(cells))
  for place, (top, left, bottom, right) in zip(
    np.ndindex(cells.shape), field.box(cells).reshape(-1, 4), strict=True
  ):
    inside = found[place][top:bottom, left:right]
    assert inside.all()
    assert inside.size == found[place].sum()
