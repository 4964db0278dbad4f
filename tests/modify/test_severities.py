"""The thirteen corruptions against OpenCV, scipy, scikit-image and Pillow."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest
from scipy import ndimage
from skimage import color

from protojax.modify import blurs, severities, weather
from protojax.types import UserError


@pytest.fixture(scope="module")
def image():
  """Smooth, of all colours, one corner grey."""
  rng = np.random.default_rng(0)
  x = ndimage.gaussian_filter(rng.uniform(0, 1, (24, 37, 3)), (1, 1, 0))
  x = (x - x.min()) / (x.max() - x.min())
  x[:6, :6] = x[:6, :6, :1]
  return x.astype(np.float32)


_plasma = jax.jit(weather.plasma, static_argnums=(1, 2, 3))


def _changed(name, severity, image, seed=0):
  numbers = tuple(map(float, severities.STRENGTHS[name][severity - 1]))
  change = jax.jit(functools.partial(severities._changed, name, numbers, 1.0))
  return np.asarray(change(jnp.asarray(image), jax.random.key(seed)))


# Those whose pixels no other test here tells.
FAST = ("snow", "frost", "pixelate")


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in severities.NAMES
  ],
)
def test_images_of_any_size_are_corrupted_one_by_one(name):
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (2, 9, 14, 3), np.uint8)
  keys = jax.random.split(jax.random.key(0), 2)
  call = functools.partial(
    severities.corrupted, name=name, severity=3, scale=0.5
  )
  found = np.asarray(call(images, keys))
  assert (found.shape, found.dtype) == (images.shape, np.uint8)
  assert np.any(found != images)
  if name in ("snow", "frost", "brightness"):
    assert found.mean() > images.mean()
  turned = np.asarray(call(images[::-1], keys[::-1]))
  np.testing.assert_array_equal(found, turned[::-1])


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise"])
def test_noise_has_its_mean_and_deviation(name):
  grey = np.full((60, 60, 3), 0.5, np.float32)
  found = _changed(name, 2, grey)
  number = severities.STRENGTHS[name][1][0]
  deviation = number if name == "gaussian_noise" else math.sqrt(0.5 / number)
  assert found.mean() == pytest.approx(0.5, abs=0.01)
  assert found.std() == pytest.approx(deviation, rel=0.03)


def test_photons_are_of_poissons_distribution():
  mean, count = 3.0, 40_000
  drawn = severities._counted(jax.random.key(0), jnp.full(count, mean), mean)
  shares = np.bincount(np.asarray(drawn, int), minlength=10)[:10] / count
  k = np.arange(10)
  expected = [math.exp(-mean) * mean**n / math.factorial(n) for n in k]
  np.testing.assert_allclose(shares, expected, atol=0.008)


def test_impulses_are_as_many_black_as_white():
  grey = np.full((80, 80, 3), 0.5, np.float32)
  found = _changed("impulse_noise", 5, grey)
  assert np.mean(found == 0) == pytest.approx(0.135, abs=0.01)
  assert np.mean(found == 1) == pytest.approx(0.135, abs=0.01)
  assert np.mean(found == 0.5) == pytest.approx(0.73, abs=0.01)


def test_defocus_is_the_disc_of_opencv(image):
  cv2 = pytest.importorskip("cv2")
  # The authors' kernel, by their calls.
  at = np.arange(-8, 9)
  disc = np.array(at[None] ** 2 + at[:, None] ** 2 <= 4**2, np.float32)
  disc = cv2.GaussianBlur(disc / disc.sum(), ksize=(3, 3), sigmaX=0.5)
  expected = cv2.filter2D(image, -1, disc)
  found = blurs.defocused(jnp.asarray(image), 4.0, 0.5)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_motion_is_a_trace_to_one_side():
  x = np.zeros((9, 21, 1), np.float32)
  x[4, 12] = 1
  found = np.asarray(blurs.moved(jnp.asarray(x), 0.0, 3.0, 2.0))[..., 0]
  weights = np.exp(-(np.arange(7) ** 2) / 8)
  expected = np.zeros((9, 21))
  expected[4, 6:13] = (weights / weights.sum())[::-1]
  np.testing.assert_allclose(found, expected, atol=1e-6)
  # Turned by a right angle, the trace is a column.
  x = np.zeros((21, 9, 1), np.float32)
  x[12, 4] = 1
  turned = blurs.moved(jnp.asarray(x), math.pi / 2, 3.0, 2.0)[..., 0]
  np.testing.assert_allclose(turned, expected.T, atol=1e-6)


def test_glass_takes_values_from_near_by():
  rows = np.repeat(np.arange(20.0)[:, None, None], 15, 1).astype(np.float32)
  # Nearly no blur, one round: only moves are left.
  found = blurs.through_glass(jnp.asarray(rows), jax.random.key(0), 0.05, 2, 1)
  far = np.asarray(found)[..., 0] - rows[..., 0]
  assert set(np.unique(far[2:-2, 2:-2])) == {-2.0, -1.0, 0.0, 1.0}
  assert not far[:2].any()
  assert not far[:, :2].any()


@pytest.mark.parametrize(("height", "factor"), [(24, 3.0), (31, 2.5)])
def test_zoom_is_that_of_scipy(height, factor):
  rng = np.random.default_rng(2)
  plane = rng.normal(size=(height, height)).astype(np.float32)
  part = math.ceil(height / factor)
  top = (height - part) // 2
  middle = plane[top : top + part, top : top + part]
  whole = ndimage.zoom(middle, factor, order=1)
  trim = (len(whole) - height) // 2
  expected = whole[trim : trim + height, trim : trim + height]
  found = weather.zoomed(jnp.asarray(plane), factor)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_fog_is_clouds_that_fill_their_range(image):
  clouds = np.asarray(_plasma(jax.random.key(0), 16, 16, 1.4))
  assert (clouds.min(), clouds.max()) == (0, 1)
  # Fewer levels of clouds compile sooner.
  small, most = image[:16, :16], image[:16, :16].max()
  np.testing.assert_allclose(
    _changed("fog", 5, small),
    (small + 3 * clouds[..., None]) * most / (most + 3),
    atol=1e-4,
  )


def test_clouds_are_those_of_squares_and_diamonds():
  """A naive twin on a torus, with the same noise."""
  key, levels, decay = jax.random.key(3), 3, 1.5
  side = 2**levels
  grid, wibble = np.zeros((side, side)), 1.0
  for level in range(levels):
    n, step = 2**level, side // 2**level
    own = jax.random.fold_in(key, level)
    noise = np.asarray(
      jax.random.uniform(own, (3, n, n), minval=-wibble, maxval=wibble)
    )
    half = step // 2
    for i in range(n):
      for j in range(n):
        y, x = i * step, j * step
        corners = (
          grid[(y + a) % side, (x + b) % side]
          for a in (0, step)
          for b in (0, step)
        )
        grid[y + half, x + half] = sum(corners) / 4 + noise[0, i, j]
    for i in range(n):
      for j in range(n):
        y, x = i * step, j * step
        for which, (row, column) in ((1, (y, x + half)), (2, (y + half, x))):
          near = (
            grid[(row + a) % side, (column + b) % side]
            for a, b in ((half, 0), (-half, 0), (0, half), (0, -half))
          )
          grid[row, column] = sum(near) / 4 + noise[which, i, j]
    wibble /= decay**2
  expected = (grid - grid.min()) / (grid.max() - grid.min())
  found = _plasma(key, side, side, decay)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_brightness_and_saturation_are_those_of_hsv(image):
  hsv = color.rgb2hsv(image)
  brighter = hsv.copy()
  brighter[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
  np.testing.assert_allclose(
    _changed("brightness", 3, image), color.hsv2rgb(brighter), atol=1e-5
  )
  for severity in (1, 5):
    factor, added = severities.STRENGTHS["saturate"][severity - 1]
    other = hsv.copy()
    other[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
    np.testing.assert_allclose(
      _changed("saturate", severity, image), color.hsv2rgb(other), atol=1e-4
    )


def test_contrast_keeps_the_mean(image):
  found = _changed("contrast", 4, image)
  np.testing.assert_allclose(found.mean((0, 1)), image.mean((0, 1)), atol=1e-5)
  np.testing.assert_allclose(
    found.std((0, 1)), 0.1 * image.std((0, 1)), rtol=1e-3
  )


@pytest.mark.parametrize("severity", [1, 5])
def test_pixels_are_those_of_pillow(image, severity):
  levels = np.rint(255 * image).astype(np.uint8)
  share = severities.STRENGTHS["pixelate"][severity - 1][0]
  height, width, _ = image.shape
  small = int(width * share), int(height * share)
  box = Image.Resampling.BOX
  less = Image.fromarray(levels).resize(small, box)
  expected = np.asarray(less.resize((width, height), box))
  found = 255 * _changed("pixelate", severity, levels / np.float32(255))
  np.testing.assert_allclose(found, expected, atol=1.6)


def test_what_there_is_not_is_refused():
  with pytest.raises(UserError, match="no corruption 'rain': choose from gau"):
    severities.require("rain", 1)
  with pytest.raises(UserError, match="severity 6 of fog: give 1"):
    severities.require("fog", 6)
