"""Files -> pixels, against NumPy arithmetic and images made by hand."""

import io
import struct
import subprocess
import zlib

import numpy as np
from PIL import EpsImagePlugin, Image
import pytest

from protojax.data import images


def png(image: Image.Image, **options) -> bytes:
  content = io.BytesIO()
  image.save(content, "PNG", **options)
  return content.getvalue()


@pytest.fixture
def pixels():
  return np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)


def test_rgb_comes_as_it_is(pixels, tmp_path):
  Image.fromarray(pixels).save(tmp_path / "a.png")
  for file in (tmp_path / "a.png", str(tmp_path / "a.png")):
    np.testing.assert_array_equal(images.decode(file), pixels)


def test_grey_and_one_bit_become_three_equal_channels(pixels):
  grey = pixels[..., 0]
  got = images.decode(png(Image.fromarray(grey)))
  np.testing.assert_array_equal(got, np.stack([grey] * 3, axis=-1))
  got = images.decode(png(Image.fromarray(grey > 127)))
  np.testing.assert_array_equal(got[..., 1], np.where(grey > 127, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind):
  wide = np.array([[0, 128, 129, 257, 40000, 65535]], np.uint16)
  content = io.BytesIO()
  Image.fromarray(wide).save(content, kind)
  got = images.decode(content.getvalue())
  expected = np.round(wide / 65535 * 255).astype(np.uint8)
  np.testing.assert_array_equal(got, np.stack([expected] * 3, axis=-1))


def test_alpha_is_composited_over_white(pixels):
  alpha = np.random.default_rng(1).integers(0, 256, (9, 7, 1), np.uint8)
  rgba = np.concatenate([pixels, alpha], axis=-1)
  got = images.decode(png(Image.fromarray(rgba)))
  share = alpha / 255
  expected = pixels * share + 255 * (1 - share)
  np.testing.assert_allclose(got, expected, atol=1)
  # Fully opaque or fully transparent pixels: no rounding.
  rgba[..., 3] = np.where(alpha[..., 0] > 127, 255, 0)
  got = images.decode(png(Image.fromarray(rgba)))
  expected = np.where(rgba[..., 3:] == 255, pixels, 255)
  np.testing.assert_array_equal(got, expected)


def test_palette_with_a_transparent_colour():
  image = Image.new("P", (4, 2), 1)
  image.putpalette([10, 20, 30, 200, 100, 50])
  image.putpixel((0, 0), 0)
  got = images.decode(png(image, transparency=1))
  np.testing.assert_array_equal(got[0, 0], [10, 20, 30])
  np.testing.assert_array_equal(got[1, 1], [255, 255, 255])
  np.testing.assert_array_equal(images.decode(png(image))[1, 1], [200, 100, 50])


def test_cmyk():
  content = io.BytesIO()
  Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(content, "TIFF")
  got = images.decode(content.getvalue())
  np.testing.assert_array_equal(got, np.full((8, 8, 3), [255, 0, 0]))


@pytest.mark.parametrize(
  ("orientation", "undo"),
  [
    (2, lambda x: x[:, ::-1]),
    (3, lambda x: x[::-1, ::-1]),
    (6, lambda x: np.rot90(x, 1)),
    (8, lambda x: np.rot90(x, -1)),
  ],
)
def test_exif_orientation_is_applied(pixels, orientation, undo):
  # A turned camera stores this, with a tag for the turn.
  exif = Image.Exif()
  exif[0x0112] = orientation
  stored = Image.fromarray(np.ascontiguousarray(undo(pixels)))
  got = images.decode(png(stored, exif=exif.tobytes()))
  np.testing.assert_array_equal(got, pixels)


def test_a_broken_exif_block_does_not_cost_the_image(pixels):
  content = png(Image.fromarray(pixels), exif=b"Exif\0\0not a TIFF header")
  np.testing.assert_array_equal(images.decode(content), pixels)


def test_first_frame_of_an_animation(pixels):
  frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
  content = io.BytesIO()
  frames[0].save(content, "TIFF", save_all=True, append_images=frames[1:])
  np.testing.assert_array_equal(images.decode(content.getvalue()), pixels)


def tiff(array: np.ndarray) -> bytes:
  content = io.BytesIO()
  Image.fromarray(array).save(content, "TIFF")
  return content.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_values_of_eight_bits_are_taken_as_they_are(dtype):
  values = np.array([[0, 1, 17, 200, 255]], dtype)
  got = images.decode(tiff(values))
  np.testing.assert_array_equal(got[..., 0], values)
  # A 32-bit file of larger values holds 16 bits.
  wide = np.array([[0, 257, 65535]], np.int32)
  np.testing.assert_array_equal(images.decode(tiff(wide))[0, :, 1], [0, 1, 255])


def test_sixteen_bit_colours_do_not_turn_black():
  def encoded(values):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [
      (b"IHDR", struct.pack(">IIBBBBB", *values.shape[1::-1], 16, 2, 0, 0, 0)),
      (b"IDAT", zlib.compress(rows)),
      (b"IEND", b""),
    ]
    chunks = (
      struct.pack(">I", len(data))
      + k
      + data
      + struct.pack(">I", zlib.crc32(k + data))
      for k, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

  values = np.random.default_rng(0).integers(0, 256, (4, 5, 3))
  got = images.decode(encoded(values * 257))
  np.testing.assert_array_equal(got, values)
  with pytest.raises(ValueError, match="16-bit colours of less than 256"):
    images.decode(encoded(values))


@pytest.mark.parametrize("suffix", ["eps", "eps.jpg", "png"])
def test_nothing_starts_a_program(suffix, tmp_path, monkeypatch):
  # Pillow would start Ghostscript on this, whatever the suffix.
  path = tmp_path / f"x.{suffix}"
  Image.new("RGB", (8, 8)).save(path, "EPS")
  started = []
  monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started)
  monkeypatch.setattr(
    subprocess, "Popen", lambda *a, **k: started.append(a) or 1 / 0
  )
  for file in (path, path.read_bytes()):
    with pytest.raises(ValueError, match="not an image that Pillow can read"):
      images.decode(file)
  assert not started
  assert "EPS" not in images.formats()
  assert {"PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"} <= set(images.formats())


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"not an image", "not an image that Pillow can read"),
    (b"", "not an image that Pillow can read"),
    (tiff(np.full((3, 3), 70000, np.int32)), "32-bit integer pixels"),
    (tiff(np.full((3, 3), 4000, np.uint16)), "pixels of at most 4000"),
    (tiff(np.zeros((3, 3), np.float32)), "floating-point pixels"),
  ],
)
def test_what_cannot_be_read_has_a_reason(content, reason):
  with pytest.raises(ValueError, match=reason):
    images.decode(content)


def test_truncated_files(pixels):
  large = Image.fromarray(np.tile(pixels, (20, 20, 1)))
  for kind in ("JPEG", "PNG"):
    content = io.BytesIO()
    large.save(content, kind)
    with pytest.raises(ValueError, match=r"truncated|broken"):
      images.decode(content.getvalue()[: len(content.getvalue()) // 2])


def test_digest_tells_pixels_and_shape_apart(pixels):
  one = images.digest(pixels)
  assert one.dtype == np.uint8
  assert one.shape == (16,)
  np.testing.assert_array_equal(one, images.digest(pixels.copy()))
  other = pixels.copy()
  other[0, 0, 0] ^= 1
  assert (one != images.digest(other)).any()
  assert (one != images.digest(pixels.reshape(7, 9, 3))).any()


def _header(width, height):
  """A PNG of which nothing but the header is there."""
  fields = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
  checked = fields + struct.pack(">I", zlib.crc32(fields))
  start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + checked
  return start + struct.pack(">I", 99) + b"IDAT"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 13_300, 100_000])
def test_pixels_are_counted_before_they_are_decoded(side):
  with pytest.raises(
    ValueError, match=r"pixels are more than 64,000,000; .* PROTOJAX_MOST_PIX"
  ):
    images.decode(_header(side, side))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_number_of_pixels_can_be_set(monkeypatch):
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
  small = io.BytesIO()
  Image.new("L", (30, 20)).save(small, "PNG")
  monkeypatch.setenv("PROTOJAX_MOST_PIXELS", "599")
  with pytest.raises(ValueError, match=r"30 x 20 pixels are more than 599;"):
    images.decode(small.getvalue())
  monkeypatch.setenv("PROTOJAX_MOST_PIXELS", "600")
  assert images.decode(small.getvalue()).shape == (20, 30, 3)
  monkeypatch.setenv("PROTOJAX_MOST_PIXELS", str(20_000**2))
  with pytest.raises(ValueError) as error:  # of the missing pixels
    images.decode(_header(20_000, 20_000))
  assert "more than" not in str(error.value)
  monkeypatch.setenv("PROTOJAX_MOST_PIXELS", "many")
  with pytest.raises(ValueError, match="=many is not a number of pixels"):
    images.decode(small.getvalue())
