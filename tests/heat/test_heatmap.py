"""`protojax.heatmap`: closed forms of linear functions, and NumPy twins."""

from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import protojax as pj
from protojax.heat import grad_cam
from protojax.types import UserError

SIDE, CLASSES = 8, 3
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
WEIGHTS = RNG.normal(size=(SIDE, SIDE, 3, CLASSES)).astype(np.float32)
TARGETS = np.array([2, 0])


def linear(images):
  return jnp.einsum("bhwc,hwck->bk", images, WEIGHTS, precision="highest")


def products():
  """Pixel times weight of the target, [b H W c]."""
  return IMAGES * np.moveaxis(WEIGHTS[..., TARGETS], -1, 0)


def test_saliency_of_a_linear_function_is_its_weights():
  found = pj.heatmap(linear, IMAGES, target=TARGETS)
  own = np.moveaxis(WEIGHTS[..., TARGETS], -1, 0)
  assert_allclose(found, np.abs(own).max(axis=-1), rtol=1e-6)
  # Noise moves no gradient of a linear function.
  noisy = pj.heatmap(linear, IMAGES, "smoothgrad", TARGETS, copies=2)
  assert_allclose(noisy, found, rtol=1e-5)


@pytest.mark.parametrize("kind", ["integrated_gradients", "lrp"])
def test_shares_of_a_linear_function_are_its_products(kind):
  settings = {"rule": "epsilon"} if kind == "lrp" else {"steps": 3}
  found = pj.heatmap(linear, IMAGES, kind, TARGETS, **settings)
  assert_allclose(found, products().sum(axis=-1), rtol=2e-4, atol=1e-2)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2)])
def test_occlusion_of_a_linear_function_is_what_the_square_hides(
  window, stride
):
  found = pj.heatmap(
    linear, IMAGES, "occlusion", TARGETS, window=window, stride=stride
  )
  shares = products().sum(axis=-1)
  total, times = np.zeros(shares.shape), np.zeros((SIDE, SIDE))
  last = -(-(SIDE - window) // stride)
  for i, j in np.ndindex(last + 1, last + 1):
    y, x = (slice(stride * n, stride * n + window) for n in (i, j))
    total[:, y, x] += shares[:, y, x].sum(axis=(1, 2), keepdims=True)
    times[y, x] += 1
  assert_allclose(found, total / times, rtol=1e-4, atol=1e-2)


class Linen(nn.Module):
  """Two convolutions, of which the second gives 4 x 4 cells."""

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(4, (3, 3))(x / 255))
    x = nn.max_pool(x, (2, 2), (2, 2))
    x = nn.relu(nn.Conv(5, (3, 3))(x))
    return nn.Dense(CLASSES)(x.mean(axis=(1, 2)))


@pytest.fixture(scope="module")
def network():
  module = Linen()
  pixels = jnp.asarray(IMAGES, jnp.float32)
  return module, module.init(jax.random.key(1), pixels)


def of_linen(network):
  module, variables = network
  return lambda images: module.apply(variables, images)


class Nnx(nnx.Module):
  """A network of NNX, whose map has as many cells as the image has pixels."""

  def __init__(self):
    rngs = nnx.Rngs(0)
    self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
    self.head = nnx.Linear(4, CLASSES, rngs=rngs)

  def __call__(self, x):
    return self.head(nnx.relu(self.norm(self.conv(x / 255))).mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["integrated_gradients", "lrp"])
def test_shares_sum_up_to_the_score(network, kind):
  """Completeness: of a network that gives 0 for black, without biases."""
  fn = of_linen(network)
  found = pj.heatmap(fn, IMAGES, kind)
  scores = np.asarray(fn(jnp.asarray(IMAGES, jnp.float32))).max(axis=1)
  assert_allclose(found.sum(axis=(1, 2)), scores, rtol=1e-2)


def test_grad_cam_is_that_of_the_last_map_by_hand(network):
  params = network[1]["params"]

  def map_of(images):
    x = nn.relu(nn.Conv(4, (3, 3)).apply({"params": params["Conv_0"]}, images))
    x = nn.max_pool(x, (2, 2), (2, 2))
    return nn.relu(nn.Conv(5, (3, 3)).apply({"params": params["Conv_1"]}, x))

  pixels = jnp.asarray(IMAGES, jnp.float32)
  fn = of_linen(network)
  features, head = grad_cam.split(fn, pixels)
  assert_allclose(features, map_of(pixels / 255), rtol=1e-4, atol=1e-6)
  assert_allclose(head(features), fn(pixels), rtol=1e-5)
  # The mean over 16 cells, then one dense layer: the gradient is its kernel.
  kernel = np.asarray(params["Dense_0"]["kernel"])[:, TARGETS].T / 16
  cells = np.maximum(np.einsum("bd,bhwd->bhw", kernel, features), 0)
  expected = grad_cam.upsampled(jnp.asarray(cells)[:, None], SIDE, SIDE)[:, 0]
  found = pj.heatmap(fn, IMAGES, "grad_cam", TARGETS)
  assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_network_of_nnx_and_one_image():
  fn = Nnx()
  one = pj.heatmap(fn, IMAGES[0], "lrp")
  pixels = jnp.asarray(IMAGES, jnp.float32)
  assert one.shape == (SIDE, SIDE)
  assert_allclose(one.sum(), np.asarray(fn(pixels))[0].max(), rtol=1e-3)
  assert pj.heatmap(fn, IMAGES, "grad_cam").shape == (2, SIDE, SIDE)


def test_it_can_be_compiled_by_the_caller():
  compiled = jax.jit(lambda images: pj.heatmap(linear, images, target=1))
  assert_array_equal(compiled(IMAGES), pj.heatmap(linear, IMAGES, target=1))


def test_one_score_an_image_needs_no_target():
  found = pj.heatmap(lambda images: linear(images)[:, 1], IMAGES)
  assert_array_equal(found, pj.heatmap(linear, IMAGES, target=1))


FLOATS = IMAGES.astype(np.float32) / 255


@pytest.mark.parametrize(
  ("arguments", "settings", "message"),
  [
    ((linear, IMAGES, "salience"), {}, "did you mean saliency"),
    ((linear, IMAGES, "lrp"), {"rules": "z+"}, "did you mean rule"),
    ((linear, IMAGES, "lrp"), {"rule": "z"}, "unknown rule of lrp"),
    ((linear, FLOATS, "lrp"), {}, r"bounds=\(0.0, 1.0\)"),
    ((linear, FLOATS), {"bounds": (1, 0)}, "first must be the smaller"),
    ((linear, IMAGES[0, 0]), {}, r"shape \[8, 3\]"),
    ((linear, IMAGES), {"target": 3}, "whole number from 0 to 2"),
    ((linear, IMAGES, "grad_cam"), {}, "needs a feature map"),
    ((lambda x: x, IMAGES), {}, r"must give scores \[images, classes\]"),
    (
      (lambda x: jax.nn.softmax(linear(x)), IMAGES, "lrp"),
      {},
      "relevance has no rule for '(exp|reduce_max|sub|div|stop_gradient)'",
    ),
  ],
)
def test_what_cannot_be_shown_is_said(arguments, settings, message):
  with pytest.raises(UserError, match=message):
    pj.heatmap(*arguments, **settings)


def test_what_is_no_function_and_what_is_no_array_is_said(monkeypatch):
  # Users have no type checks, which would speak first.
  monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
  with pytest.raises(UserError, match=r"found int; .* model.explain\(image\)"):
    pj.heatmap(3, IMAGES)
  with pytest.raises(UserError, match=r"found str; .* np.asarray\(PIL"):
    pj.heatmap(linear, "photo.jpg")
