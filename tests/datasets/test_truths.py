"""Masks: from any image file to defective pixels."""

import io

import numpy as np
from PIL import Image
import pytest

from protojax.data import images
from protojax.data.resizing import SQUASH, Resizing
from protojax.datasets import layouts, truths
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


def shapes(*levels):
  """A square of each level on black, far apart, and their union."""
  pixels = np.zeros((24, 24 * len(levels), *np.shape(levels[0])), np.uint8)
  for i, level in enumerate(levels):
    pixels[6:18, 24 * i + 6 : 24 * i + 18] = level
  marked = pixels.reshape(*pixels.shape[:2], -1).any(axis=-1)
  return pixels, marked


@pytest.mark.parametrize(
  "levels",
  [
    (85, 170, 255),
    (1, 255),
    (10, 20, 30, 200),
    ((255, 0, 0), (0, 255, 0), (0, 0, 255)),
    ((128, 0, 0), (0, 64, 0), (0, 0, 192)),
    ((9, 0, 0), (255, 255, 255)),
  ],
)
def test_all_but_background_of_few_levels(levels):
  pixels, marked = shapes(*levels)
  np.testing.assert_array_equal(truths.read(fakes.png(pixels)), marked)
  colours = Image.fromarray(pixels).convert("RGB").quantize(8)
  np.testing.assert_array_equal(truths.read(encoded(colours)), marked)
  if pixels.ndim == 2:
    wide = pixels.astype(np.uint16) * 257
    np.testing.assert_array_equal(truths.read(fakes.png(wide)), marked)


def test_nested_and_touching_kinds():
  pixels = np.zeros((30, 30), np.uint8)
  pixels[3:27, 3:27] = 60
  pixels[8:20, 8:20] = 120
  pixels[12:16, 12:16] = 255
  np.testing.assert_array_equal(truths.read(fakes.png(pixels)), pixels > 0)


@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_smoothed_edges_are_cut_at_half(scale):
  rows, columns = np.mgrid[: 40 * scale, : 40 * scale] / scale
  disc = (rows - 19.7) ** 2 + (columns - 20.2) ** 2 < 11.3**2
  small = disc.reshape(40, scale, 40, scale).mean(axis=(1, 3))
  pixels = np.rint(255 * small).astype(np.uint8)
  np.testing.assert_array_equal(truths.read(fakes.png(pixels)), pixels >= 128)
  white = Image.fromarray(np.where(disc, 255, 0).astype(np.uint8))
  for way in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
    resized = np.asarray(white.resize((57, 57), way))
    found = truths.read(fakes.png(resized))
    np.testing.assert_array_equal(found, resized >= 128)


@pytest.mark.parametrize("quality", [50, 75, 95, 100])
@pytest.mark.parametrize("level", [255, 100])
def test_compressed_masks_are_cut_at_half(quality, level):
  pixels = np.zeros((64, 64), np.uint8)
  pixels[13:39, 21:50] = level
  image = Image.fromarray(pixels)
  found = truths.read(encoded(image, format="JPEG", quality=quality))
  np.testing.assert_array_equal(found, pixels > 0)
  if level == 255:  # saved as PNG later
    jpeg = Image.open(
      io.BytesIO(encoded(image, format="JPEG", quality=quality))
    )
    found = truths.read(fakes.png(np.asarray(jpeg)))
    np.testing.assert_array_equal(found, pixels > 0)


def test_an_empty_mask_of_a_defective_image_is_said(make_folder, caplog):
  tree = fakes.mvtec("a", kinds=("crack",))
  mask = "a/ground_truth/crack/001_mask.png"
  found = layouts.read(make_folder(tree | {mask: fakes.mask() * 0}))
  rows = [row for row, path in enumerate(found.masks) if path]
  for _ in range(2):
    found.require_truth(rows)
  (line,) = caplog.messages
  assert f"mask {mask}" in line
  assert line.endswith(
    "marks no pixel of the defective image a/test/crack/001.png"
  )


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


def test_a_mask_is_seen_as_its_image():
  """Resized and cut as the image is, at half; then torch's nearest pixels."""
  rng = np.random.default_rng(0)
  truth = np.kron(rng.integers(0, 2, (6, 9)) > 0, np.ones((9, 7), bool))
  frame = Resizing("squash", 64).frame(truth.shape, 56)
  grey = Image.fromarray(np.uint8(255 * truth)).resize(
    (64, 64), Image.Resampling.BILINEAR
  )
  expected = np.asarray(grey.crop((4, 4, 60, 60))) / 255 > 0.5
  np.testing.assert_array_equal(truths.seen(truth, frame), expected)
  at = [int(i * 56 / 32) for i in range(32)]
  np.testing.assert_array_equal(
    truths.on_map(truth, frame, 32), expected[np.ix_(at, at)]
  )
  whole = SQUASH.frame(truth.shape, 56)
  for size, found in (
    (56, truths.seen(truth, whole)),
    (32, truths.on_map(truth, whole, 32)),
  ):
    nearest = Image.fromarray(truth).resize((size, size), 0)
    np.testing.assert_array_equal(found, nearest)


def test_the_share_of_a_defect_that_is_not_seen():
  frame = Resizing("aspect").frame((40, 80), 20)  # columns 20 to 60
  truth = np.zeros((40, 80), bool)
  assert truths.hidden(truth, frame) is None
  truth[10:20, 10:30] = True
  assert truths.hidden(truth, frame) == 0.5
  truth[:, 20:] = False
  assert truths.hidden(truth, frame) == 1
  assert truths.hidden(truth, SQUASH.frame((40, 80), 20)) == 0
