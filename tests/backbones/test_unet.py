"""U-Nets of any width and depth, against shapes and a twin of their decoder."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protojax import backbones
from protojax.backbones import unet
from protojax.weights import reading


def test_any_width_and_number_of_levels():
  for widths, coarser in (((4,), 0), ((4, 6), 1), ((2, 3, 5), 0)):
    backbone = unet.made(widths, "batch", coarser)
    (features, variables) = jax.eval_shape(
      lambda b=backbone: b.module.init_with_output(
        jax.random.key(0), jnp.zeros((1, 12, 12, 3)), mutable=True
      )
    )
    side = 12 // 2**coarser
    assert features.shape == (1, side, side, widths[coarser])
    assert backbone.stride == 2**coarser
    assert len(backbone.levels) == len(widths) - coarser
    assert set(variables["intermediates"]) == {
      level.name for level in backbone.levels
    }
  with pytest.raises(ValueError, match="coarser=2 of a U-Net with 2 levels"):
    unet.made((4, 8), "group", 2)


def test_parameters_are_those_of_its_convolutions():
  """Two 3 x 3 a level, two a step up; a norm has two numbers a channel."""
  shapes = reading.shapes(backbones.load("unet_small").module)["params"]
  widths = (16, 32, 64, 128)
  wanted = 0
  for before, width in zip((3, *widths), widths, strict=False):
    wanted += 9 * width * (before + width) + 4 * width
  for width, below in itertools.pairwise(widths):
    wanted += 9 * width * (width + below + width) + 4 * width
  assert sum(x.size for x in jax.tree.leaves(shapes)) == wanted


def test_odd_sides_come_back_to_the_images_own():
  module = unet.made((2, 3, 4), "group").module
  shape = jax.eval_shape(
    lambda: module.init_with_output(
      jax.random.key(0), jnp.zeros((1, 11, 13, 3))
    )
  )[0].shape
  assert shape == (1, 11, 13, 2)


def test_group_norm_knows_no_other_image():
  module = unet.made((4, 8), "group").module
  images = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
  variables = module.init(jax.random.key(1), images)
  assert set(variables) == {"params"}
  apply = jax.jit(module.apply)
  one = apply(variables, images)[0]
  other = apply(variables, images.at[1].multiply(5.0))[0]
  np.testing.assert_array_equal(one, other)
