"""Masks: from any image file to defective pixels."""

import io

import numpy as np
from PIL import Image
import pytest

from protojax.data import images
from protojax.datasets import truths
from tests.datasets import anomaly_fakes as fakes


def encoded(image, **options):
  content = io.BytesIO()
  image.save(content, options.pop("format", "PNG"), **options)
  return content.getvalue()


RAMP = np.tile(np.arange(256, dtype=np.uint8), (2, 1))


def test_half_of_white_is_the_threshold():
  np.testing.assert_array_equal(truths.read(fakes.png(RAMP)), RAMP >= 128)
  sixteen = RAMP.astype(np.uint16) * 257
  np.testing.assert_array_equal(truths.read(fakes.png(sixteen)), RAMP >= 128)
  colour = np.repeat(RAMP[..., None], 3, axis=-1)
  np.testing.assert_array_equal(truths.read(fakes.png(colour)), RAMP >= 128)


@pytest.mark.parametrize("top", [1, 5, 127])
def test_numbers_of_kinds_are_defective(top):
  numbers = np.minimum(RAMP, top)
  np.testing.assert_array_equal(truths.read(fakes.png(numbers)), RAMP > 0)


def test_other_kinds_of_masks():
  white = RAMP >= 128
  one_bit = Image.fromarray(white)
  palette = Image.fromarray(white.astype(np.uint8)).convert("P")
  palette.putpalette([0, 0, 0, 255, 255, 255])
  # Transparent white is no defect.
  clear = np.full((*RAMP.shape, 4), 255, np.uint8)
  clear[..., 3] = RAMP
  for image in (one_bit, palette, Image.fromarray(clear)):
    np.testing.assert_array_equal(truths.read(encoded(image)), white)
  assert not truths.read(fakes.png(RAMP * 0)).any()


def test_png_is_read_back():
  truth = np.random.default_rng(0).random((7, 9)) > 0.5
  np.testing.assert_array_equal(truths.read(truths.png(truth)), truth)


def test_broken_masks():
  noise = np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)
  for broken in (b"", b"junk", fakes.png(noise)[:200]):
    with pytest.raises(ValueError):
      truths.read(broken)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_size_is_that_of_the_decoded_image(tmp_path, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = tmp_path / "image.jpg"
  Image.new("RGB", (20, 10)).save(path, exif=exif)
  assert truths.size(path) == images.decode(path).shape[:2]
