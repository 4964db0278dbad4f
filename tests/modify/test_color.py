"""Colour modifications against Pillow, byte for byte."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image, ImageEnhance
import pytest
from skimage import data

from protojax.modify import color

contrast = jax.jit(color.contrast, static_argnums=1)
contrast_luma = jax.jit(color.contrast_luma, static_argnums=1)
hue = jax.jit(color.hue, static_argnums=1)


def all_colours():
  """The 2^24 colours, a sixteenth at a time."""
  for start in range(0, 2**24, 2**20):
    yield _of_codes(np.arange(start, start + 2**20))


def _of_codes(codes):
  """Colours [1024 1024 3] of the numbers of 24 bits."""
  colours = np.stack([codes >> 16, codes >> 8, codes], axis=-1)
  return colours.astype(np.uint8).reshape(1024, 1024, 3)


def photo(height=61, width=47):
  return data.chelsea()[100 : 100 + height, 120 : 120 + width]


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.45, 0.7, 0.8, 0.999, 1.0, 1.7])
def test_blend_equals_pillow_on_every_pair_of_levels(factor):
  start, end = np.mgrid[:256, :256].astype(np.uint8)
  expected = Image.blend(Image.fromarray(start), Image.fromarray(end), factor)
  images = np.repeat(end[None, ..., None], 3, axis=-1)
  blended = jax.jit(color.blend, static_argnums=2)(
    jnp.asarray(start, jnp.int32)[None, ..., None], images, factor
  )
  for channel in range(3):
    assert_array_equal(blended[0, ..., channel], np.asarray(expected))


@pytest.mark.parametrize(
  ("change", "enhance"),
  [
    (color.contrast, ImageEnhance.Contrast),
    (color.saturation, ImageEnhance.Color),
    (color.brightness, ImageEnhance.Brightness),
  ],
)
@pytest.mark.parametrize("factor", [0.45, 0.7, 0.8, 1.0])
def test_equals_pillow_enhancement(change, enhance, factor):
  noise = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
  images = np.stack([photo(), noise, photo() // 4])
  changed = jax.jit(change, static_argnums=1)(images, factor)
  for image, got in zip(images, changed, strict=True):
    expected = enhance(Image.fromarray(image)).enhance(factor)
    assert_array_equal(got, np.asarray(expected))


@pytest.mark.parametrize("factor", [0.0, 0.45, 1.0, 1.7])
def test_contrast_of_luma_equals_a_plain_twin(factor):
  noise = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
  images = np.stack([photo(), noise, photo() // 4])
  changed = contrast_luma(images, factor)
  for image, got in zip(images, changed, strict=True):
    before = np.asarray(Image.fromarray(image).convert("L"), int)
    mean = int(before.mean() + 0.5)
    after = mean + np.float32(factor) * (before - mean).astype(np.float32)
    after = np.clip(after, 0, 255).astype(int)
    moved = image.astype(int) + (after - before)[..., None]
    assert_array_equal(got, np.clip(moved, 0, 255))


def test_contrast_of_luma_leaves_chroma_alone():
  image = photo()
  changed = np.asarray(contrast_luma(image[None], 0.45)[0])
  inside = ((changed > 0) & (changed < 255)).all(axis=-1)
  assert inside.mean() > 0.99
  for one, other in ((0, 1), (1, 2)):
    before = image[..., one].astype(int) - image[..., other]
    after = changed[..., one].astype(int) - changed[..., other]
    assert_array_equal(after[inside], before[inside])
  grey = np.repeat(image[..., :1], 3, axis=-1)[None]
  assert_array_equal(contrast_luma(grey, 0.45), contrast(grey, 0.45))


def test_contrast_of_luma_of_padded_images():
  sizes = np.array([[61, 47], [1, 1], [64, 64]])
  padded = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), np.uint8)
  changed = contrast_luma(padded, 0.45, sizes)
  for image, got, (height, width) in zip(padded, changed, sizes, strict=True):
    alone = contrast_luma(image[None, :height, :width], 0.45)[0]
    assert_array_equal(got[:height, :width], alone)


def test_luma_equals_pillow_on_every_colour():
  luma = jax.jit(color.luma)
  for colours in all_colours():
    assert_array_equal(
      luma(colours[None])[0], Image.fromarray(colours).convert("L")
    )


def test_contrast_rounds_a_half_of_the_mean_up():
  halves = np.array([[10, 11], [11, 10]], np.uint8)
  image = np.repeat(halves[None, ..., None], 3, axis=-1)
  assert_array_equal(contrast(image, 0.0), np.full_like(image, 11))


def test_contrast_of_an_image_whose_sum_leaves_31_bits():
  image = np.full((1, 2903, 2903, 3), 255, np.uint8)
  changed = contrast(image, 0.45)
  assert np.asarray(changed).min() == 255


def test_hsv_equals_pillow_on_one_colour_of_sixteen():
  low = np.random.default_rng(0).integers(0, 16, 2**20)
  _assert_hsv([_of_codes(16 * np.arange(2**20) + low)])


@pytest.mark.slow
def test_hsv_equals_pillow_on_every_colour():
  _assert_hsv(all_colours())


def _assert_hsv(every):
  to_hsv, to_rgb = jax.jit(color.rgb_to_hsv), jax.jit(color.hsv_to_rgb)
  for colours in every:
    hsv = Image.fromarray(colours).convert("HSV")
    assert_array_equal(to_hsv(colours[None])[0], np.asarray(hsv))
    # Every triple of bytes is a colour of HSV too.
    hsv = Image.frombytes("HSV", (1024, 1024), colours.tobytes())
    assert_array_equal(to_rgb(colours[None])[0], np.asarray(hsv.convert("RGB")))


@pytest.mark.parametrize("turn", [0.1, 0.5, -0.3])
def test_hue_adds_to_the_byte_as_torchvision_does(turn):
  image = photo()
  hsv = np.array(Image.fromarray(image).convert("HSV"))
  hsv[..., 0] += np.uint8(int(turn * 255) % 256)
  hsv = Image.frombytes("HSV", hsv.shape[1::-1], hsv.tobytes())
  turned = hue(image[None], turn)[0]
  assert_array_equal(turned, np.asarray(hsv.convert("RGB")))


def test_hue_leaves_grey_alone():
  grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None, None], 3, -1)
  assert_array_equal(hue(grey, 0.1), grey)


def test_no_turn_of_hue_is_no_change():
  assert_array_equal(hue(photo()[None], 0.0), photo()[None])
