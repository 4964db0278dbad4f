"""Relevance: conserved in every net, and that of loops in small ones."""

import itertools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax import backbones
from protojax.backbones.backbone import Layer
from protojax.heat import receptive_field, relevance
from protojax.layers import conv, norm
from protojax.prototypes.layer import AddOn
from protojax.types import UserError

HIGH = 255.0


def random_images(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def normal(rng, *shape):
  return rng.normal(size=shape).astype(np.float32)


def pulled(function, images, seeds):
  """Relevances of pixels [q b H W c] for those of features [q b ...]."""

  def run(images, seeds):
    _, pull = relevance.vjp(function, images)
    return jax.vmap(pull)(seeds)

  return np.asarray(jax.jit(run)(images, seeds))


def assert_conserved(function, images):
  """Relevance in = relevance out, of each image; and the features are right."""
  shape = jax.eval_shape(function, images.astype(np.float32)).shape
  rng = np.random.default_rng(1)
  seeds = rng.uniform(size=(2, *shape)).astype(np.float32)
  seeds[1] *= rng.uniform(size=shape) < 0.02

  def run(images, seeds):
    features, pull = relevance.vjp(function, images)
    return features, jax.vmap(pull)(seeds), function(images)

  features, pixels, expected = map(
    np.asarray, jax.jit(run)(images.astype(np.float32), seeds)
  )
  scale = np.abs(expected).max()
  assert_allclose(features / scale, expected / scale, atol=1e-5)
  put_in = seeds.sum(axis=tuple(range(2, seeds.ndim)))
  assert_allclose(pixels.sum(axis=(2, 3, 4)), put_in, rtol=1e-3)
  assert np.isfinite(pixels).all()
  assert np.min(pixels) >= 0


def variables_of(module, *inputs):
  """Random variables: no norm is an identity, slopes have either sign."""
  start = jax.eval_shape(module.init, jax.random.key(0), *inputs)
  rng = np.random.default_rng(2)

  def drawn(path, x):
    if path[-1].key == "var":
      return jnp.asarray(rng.uniform(0.1, 1.0, x.shape).astype(np.float32))
    scale = np.sqrt(np.float32(max(x.size // x.shape[-1], 4)))
    return jnp.asarray(normal(rng, *x.shape) / scale)

  return jax.tree_util.tree_map_with_path(drawn, start)


@pytest.mark.parametrize(
  "name",
  ["convnet", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)],
)
def test_backbones_conserve(name):
  backbone = backbones.load(name)
  images = random_images(2, 64, 64, 3)
  add_on = AddOn(16)
  start = np.zeros((1, 1, 1, backbone.channels), np.float32)
  after = variables_of(add_on, start)
  rng = np.random.default_rng(8)
  shift, scale = rng.uniform(0.1, 1, (2, backbone.channels)).astype(np.float32)
  if backbone.pretrained:
    variables = jax.tree.map(jnp.asarray, backbone.pretrained())
  else:
    start = np.zeros((1, 32, 32, 3), np.float32)
    variables = variables_of(backbone.module, start)
    images = images[:, :32, :32]

  def embed(images):
    x = backbone.module.apply(variables, backbone.normalise(images))
    return add_on.apply(after, x, shift, scale)

  assert_conserved(embed, images)


class Zoo(nn.Module):
  """One of each layer, in the orders that ResNets and DenseNets have."""

  @nn.compact
  def __call__(self, x):
    x = x / 255 - 0.5
    x = nn.relu(norm.BatchNorm()(conv.Conv(6, 5, 2, "VALID")(x)))
    x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    y = nn.relu6(norm.BatchNorm()(conv.Conv(6, 3)(x)))
    y = norm.BatchNorm()(conv.Conv(None, 3)(y))
    x = nn.relu(x + y)
    first, second = jnp.split(y, 2, axis=-1)
    y = jnp.concatenate([x, second, first], axis=-1)
    y = nn.relu(norm.BatchNorm()(y))
    y = nn.avg_pool(nn.Conv(4, (1, 1))(y), (2, 2), (2, 2))
    y = nn.tanh(nn.Dense(4)(y - 0.3))
    return jnp.clip(2 - y[:, ::-1].mean(axis=1), 0, 3)


def test_a_zoo_of_layers_conserves():
  images = random_images(2, 23, 23, 3)
  net = Zoo()
  variables = variables_of(net, np.zeros((1, 23, 23, 3), np.float32))
  assert_conserved(lambda x: net.apply(variables, x), images)


def test_sums_of_nothing_conserve():
  """Where all inputs are zero, what a bias gives is shared out evenly."""

  def dead(images):
    x = nn.relu(images.astype(jnp.float32) - 300)
    kernel = jnp.full((3, 3, 1, 1), -1.0)
    return nn.relu(conv.convolve(x, kernel) + 1)

  images = random_images(1, 5, 5, 1)
  seeds = np.zeros((1, 1, 5, 5, 1), np.float32)
  seeds[..., 0, 0, :] = 1
  pixels = pulled(dead, images, seeds)
  expected = np.zeros((5, 5))
  expected[:2, :2] = 0.25
  assert_allclose(pixels[0, 0, :, :, 0], expected, atol=1e-6)


def loop_over_layers(x, layers, put_in):
  """The rules by hand, for one image: z^B, then terms of the sum's sign."""
  units, terms = [x], []
  for i, (w, b) in enumerate(layers):
    x = units[-1]
    z = x[:, None] * w
    y = z.sum(axis=0) + b
    if i == 0:
      low = x[:, None] * np.maximum(w, 0) - (HIGH - x[:, None]) * w.clip(max=0)
      high = -(x[:, None] * np.minimum(w, 0)) + (HIGH - x[:, None]) * w.clip(0)
      z = np.where(y > 0, low, high)
    else:
      z = np.maximum(z * np.sign(y), 0)
    terms.append(z)
    units.append(np.maximum(y, 0) if i < len(layers) - 1 else y)
  for z in reversed(terms):
    put_in = (z / z.sum(axis=0) * put_in).sum(axis=1)
  return put_in


def test_it_equals_the_rules_by_hand():
  rng = np.random.default_rng(3)
  sizes = (12, 7, 6, 5)
  layers = [
    (rng.normal(size=pair), rng.normal(size=pair[1]) * 0.1)
    for pair in itertools.pairwise(sizes)
  ]
  images = random_images(3, 2, 2, 3)

  def net(images):
    x = images.reshape(3, 12).astype(jnp.float32)
    for i, (w, b) in enumerate(layers):
      x = x @ jnp.asarray(w, jnp.float32) + jnp.asarray(b, jnp.float32)[None]
      x = nn.relu(x) if i < 2 else x
    return x

  seeds = normal(rng, 2, 3, 5)
  pixels = pulled(net, images, seeds)
  for q in range(2):
    for n in range(3):
      flat = images[n].reshape(-1).astype(float)
      expected = loop_over_layers(flat, layers, np.asarray(seeds[q, n]))
      assert_allclose(pixels[q, n].reshape(-1), expected, rtol=1e-4, atol=1e-5)


def test_without_biases_and_signs_it_is_gradient_times_input():
  rng = np.random.default_rng(4)
  first = np.abs(normal(rng, 3, 3, 3, 4))
  second = np.abs(normal(rng, 3, 3, 4, 2))

  def linear(images):
    x = images.astype(jnp.float32)
    x = conv.convolve(x, jnp.asarray(first), 2)
    x = nn.avg_pool(x, (2, 2), (1, 1))
    return conv.convolve(x, jnp.asarray(second), 1, "VALID")

  images = random_images(1, 12, 12, 3)
  total = jax.jit(jax.grad(lambda x: linear(x).sum()))
  pixels = pulled(linear, images, np.asarray(jax.jit(linear)(images))[None])
  expected = images * total(images.astype(np.float32))
  assert_allclose(pixels[0], expected, rtol=1e-4, atol=1e-3)


def test_nothing_comes_from_outside_the_receptive_field():
  rng = np.random.default_rng(5)
  layers = (Layer(3, 2, "VALID"), Layer(3, 1, "VALID"), Layer(2, 2, "VALID"))
  sizes = (3, 4, 4, 2)
  kernels = [
    normal(rng, layer.kernel, layer.kernel, *pair)
    for layer, pair in zip(layers, itertools.pairwise(sizes), strict=True)
  ]

  def net(images):
    x = images / 255
    for layer, kernel in zip(layers, kernels, strict=True):
      x = conv.convolve(x, jnp.asarray(kernel), layer.stride, "VALID")
      x = nn.relu(x + 0.1)
    return x

  images = random_images(1, 21, 21, 3)
  field = receptive_field.chain(layers, 21)
  cells = field.rows.cells * field.columns.cells
  features = jax.eval_shape(net, images)
  seeds = np.zeros((cells, *features.shape), np.float32)
  for cell in range(cells):
    seeds[cell].reshape(cells, 2)[cell] = 1
  pixels = pulled(net, images, seeds)
  for cell, found in enumerate(pixels[:, 0].sum(axis=-1)):
    top, left, bottom, right = field.box(cell)
    seen = found[top:bottom, left:right]
    assert np.min(seen) > 0
    assert_allclose(seen.sum(), found.sum(), rtol=1e-6)


def test_batch_norm_is_folded_into_the_convolution():
  rng = np.random.default_rng(6)
  kernel = normal(rng, 3, 3, 3, 5)
  mean, slope, bias = affine = normal(rng, 3, 5)

  def folded(images):
    y = conv.convolve(images / 255, jnp.asarray(kernel * slope))
    return nn.relu(y + (bias - mean * slope)[None, None, None])

  def apart(images):
    y = conv.convolve(images / 255, jnp.asarray(kernel))
    return nn.relu(norm.affine(y, *map(jnp.asarray, affine)))

  images = random_images(1, 8, 8, 3)
  features = np.asarray(jax.jit(folded)(images.astype(np.float32)))
  expected = pulled(folded, images, features[None])
  got = pulled(apart, images, features[None])
  assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_a_depthwise_convolution_is_one_step():
  """However it is written: the shifted sums of a CPU, or XLA's."""
  rng = np.random.default_rng(7)
  kernel = normal(rng, 3, 3, 1, 4)
  pads = ((1, 1), (0, 1))

  def net(form):
    weights = jnp.asarray(kernel)
    return lambda x: nn.relu(form(nn.relu(x / 100 - 1), weights, 2, pads))

  images = random_images(2, 9, 8, 4)
  seeds = rng.uniform(size=(1, 2, 5, 4, 4)).astype(np.float32)
  expected = pulled(net(conv.direct), images, seeds)
  got = pulled(net(conv.depthwise), images, seeds)
  assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


class Strange(nn.Module):
  """A net with a layer that there is no rule for."""

  layer: nn.Module

  @nn.compact
  def __call__(self, x):
    return self.layer(conv.Conv(4, 3, name="stem")(x / 255))


@pytest.mark.parametrize(
  ("layer", "found"),
  [
    (nn.LayerNorm(), "'(mul|square)' in Strange/layer"),
    (nn.MultiHeadDotProductAttention(2), "'dot_general' in Strange/layer"),
    (nn.gelu, "in Strange: it knows convolutions"),
  ],
)
def test_an_unknown_layer_is_named(layer, found):
  net = Strange(layer)
  images = random_images(1, 8, 8, 3).astype(np.float32)
  variables = variables_of(net, images)
  with pytest.raises(UserError, match=found):
    pulled(lambda x: net.apply(variables, x), images, None)
