"""Boxes against gradients: exactly the pixels in the box move the cell."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones import Layer
from protojax.heat import receptive_field
from protojax.layers.conv import convolve
from protojax.types import UserError

TOY = (Layer(3, 1, (1, 1)), Layer(2, 2, "VALID"), Layer(5, 2), Layer(3, 2))


def toy(images):
  """The layers of TOY with positive kernels, so that nothing cancels."""
  for layer in TOY:
    kernel = jnp.ones((layer.kernel, layer.kernel, images.shape[-1], 1))
    images = convolve(images, kernel, layer.stride, layer.padding)
  return images


@functools.cache
def positive_variables():
  module = backbones.load("convnet").module
  with jax.ensure_compile_time_eval():
    start = jax.jit(module.init)(jax.random.key(0), np.ones((1, 32, 32, 3)))
    positive = jax.tree.map(
      lambda a: jnp.asarray(np.abs(a) + np.float32(0.01)), start["params"]
    )
  return {**start, "params": positive}


def positive_convnet(images):
  return backbones.load("convnet").module.apply(positive_variables(), images)


def seen(net, image_size, window=(1, 1)):
  """Pixels with a gradient for each place of a window, [places, H, W]."""
  images = np.ones((1, image_size, image_size, 3), np.float32)

  def windows(x):
    return nn.avg_pool(net(x), window)[..., 0]

  @jax.jit
  def gradients(images):
    maps, pull = jax.vjp(windows, images)
    return jax.vmap(pull)(jnp.eye(maps.size).reshape(-1, *maps.shape))

  return np.any(np.asarray(gradients(images)[0])[:, 0] != 0, axis=-1)


@pytest.mark.parametrize(
  ("net", "layers", "image_size"),
  [
    (toy, TOY, 26),
    (toy, TOY, 33),
    (positive_convnet, backbones.load("convnet").layers, 48),
    (positive_convnet, backbones.load("convnet").layers, 37),
  ],
  ids=["toy even", "toy odd", "convnet", "convnet odd"],
)
def test_box_is_what_a_gradient_reaches(net, layers, image_size):
  field = receptive_field.chain(layers, image_size)
  pixels = seen(net, image_size)
  assert len(pixels) == field.rows.cells * field.columns.cells
  boxes = field.box(np.arange(len(pixels)))
  for inside, (top, left, bottom, right) in zip(pixels, boxes, strict=True):
    want = np.zeros_like(inside)
    want[top:bottom, left:right] = True
    np.testing.assert_array_equal(inside, want)


def test_larger_prototypes_see_their_cells():
  small = receptive_field.chain(TOY, 64)
  large = receptive_field.chain(TOY, 64, 2, 2)
  assert large.rows.cells == small.rows.cells - 1
  first, last = small.box(0), small.box(small.columns.cells + 1)
  np.testing.assert_array_equal(large.box(0), [*first[:2], *last[2:]])


@pytest.mark.parametrize("window", [(1, 2), (2, 1), (3, 2)])
def test_prototypes_need_not_be_square(window):
  field = receptive_field.chain(backbones.load("convnet").layers, 32, *window)
  assert field.rows.cells == 5 - window[0]
  assert field.columns.cells == 5 - window[1]
  pixels = seen(positive_convnet, 32, window)
  assert len(pixels) == field.rows.cells * field.columns.cells
  boxes = field.box(np.arange(len(pixels)))
  for inside, (top, left, bottom, right) in zip(pixels, boxes, strict=True):
    want = np.zeros_like(inside)
    want[top:bottom, left:right] = True
    np.testing.assert_array_equal(inside, want)
  if window == (1, 2):
    # Three places a row: the first of the second row.
    np.testing.assert_array_equal(field.box(3), [0, 0, 31, 31])


@pytest.mark.parametrize(
  ("name", "size", "start"),
  [
    ("vgg11", 150, 16),
    ("vgg13_bn", 156, 16),
    ("vgg16", 212, 16),
    ("vgg19", 268, 16),
    ("resnet18", 435, 0.5),
    ("resnet34", 899, 0.5),
    ("resnet50", 427, 0.5),
    ("resnet101", 971, 0.5),
    ("resnet152", 1451, 0.5),
    ("densenet121", 2071, 14.5),
    ("densenet161", 2967, 14.5),
    ("densenet169", 3351, 14.5),
    ("densenet201", 3863, 14.5),
  ],
)
def test_fields_are_those_of_the_reference(name, size, start):
  """Of ProtoPNet's code, at 224 pixels (its `receptive_field.py`)."""
  field = receptive_field.chain(backbones.load(name).layers, 224).rows
  assert (field.cells, field.jump) == (7, 32)
  assert (field.size, field.start) == (size, start)


def test_dilated_layers_see_as_far_as_strided_ones():
  """Taps two cells apart, on a map twice as fine."""
  strided = backbones.load("resnet50").layers
  dilated = backbones.load("resnet50_stride8").layers
  wide, fine = (receptive_field.chain(x, 224).rows for x in (strided, dilated))
  assert (fine.cells, fine.jump) == (28, 8)
  assert wide.size == fine.size
  assert fine.start == 0.5


def test_attention_sees_the_whole_image():
  field = receptive_field.chain(backbones.load("dinov2_small").layers, 518)
  for cell in (0, 37 * 37 - 1):
    np.testing.assert_array_equal(field.box(cell), [0, 0, 518, 518])


def test_a_prototype_larger_than_the_map():
  with pytest.raises(UserError, match=r"image_size 64 .* 9 cells .* map of 8"):
    receptive_field.chain(backbones.load("convnet").layers, 64, width=9)


def test_modules_are_linen():
  for name in backbones.names():
    assert isinstance(backbones.load(name).module, nn.Module)
