"""Thirteen corruptions of five severities, to judge models by.

Those of Hendrycks & Dietterich (ICLR 2019, ImageNet-C) that KITTI-C takes:
three noises, three blurs, four weathers and three of the camera's software;
severities 1 to 5 have the authors' constants. They are for images of 224
pixels or more; `scale` shortens lengths for smaller ones. Pure functions of an
image and a key, so that they run on the device for a batch of any size.
"""

from collections.abc import Mapping
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped, UInt8
import numpy as np

from protojax.modify import blurs, weather
from protojax.types import Array, ArrayLike, UserError

_HIGHEST = jax.lax.Precision.HIGHEST
# The strengths of each, severities 1 to 5.
STRENGTHS: Mapping[str, tuple[tuple[float, ...], ...]] = {
  # Deviation.
  "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
  # Photons of white.
  "shot_noise": ((60,), (25,), (12,), (5,), (3,)),
  # Share of values.
  "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
  # Radius of the disc, sigma of its rim.
  "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
  # Sigma, reach, rounds.
  "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
  # Radius, sigma.
  "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
  # Mean, deviation, size, threshold, radius, sigma, share.
  "snow": (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
  ),
  # Weights of the image and of the ice.
  "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
  # Density, decay.
  "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
  # Added to the value of HSV.
  "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
  # Factor of what differs from the mean.
  "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
  # Share of each side that is left in between.
  "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
  # Factor of the saturation of HSV, and what is added to it.
  "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
}
NAMES = tuple(STRENGTHS)
SEVERITIES = (1, 2, 3, 4, 5)


@functools.partial(jax.jit, static_argnames=("name", "severity", "scale"))
def corrupted(
  images: Shaped[ArrayLike, "b H W 3"],
  keys: Array,
  name: str,
  severity: int,
  scale: float = 1.0,
) -> UInt8[Array, "b H W 3"]:
  """Corrupted images.

  Args:
    images: RGB, 0 to 255.
    keys: one for each image, such as `parallel.example_keys`.
    name: of `NAMES`.
    severity: 1 to 5.
    scale: factor of all lengths in pixels; the shorter side / 224 corrupts
      small images as hard as ImageNet's.

  Raises:
    UserError: there is no such corruption or severity.
  """
  require(name, severity)
  numbers = tuple(map(float, STRENGTHS[name][severity - 1]))
  change = functools.partial(_changed, name, numbers, scale)
  x = jax.vmap(change)(jnp.asarray(images, jnp.float32) / 255, keys)
  return jnp.rint(255 * jnp.clip(x, 0, 1)).astype(jnp.uint8)


def require(name: str, severity: int) -> None:
  """Refuses what there is not.

  Raises:
    UserError: there is no such corruption or severity.
  """
  if name not in STRENGTHS:
    raise UserError(
      f"there is no corruption {name!r}: choose from {', '.join(NAMES)}"
    )
  if severity not in SEVERITIES:
    raise UserError(f"severity {severity!r} of {name}: give 1 (weak) to 5")


def _changed(
  name: str, numbers: tuple[float, ...], scale: float, x: Array, key: Array
) -> Array:
  """One image 0..1, corrupted."""
  if name in _LENGTHS:
    lengths = _LENGTHS[name]
    scaled = [n * scale if i in lengths else n for i, n in enumerate(numbers)]
    numbers = tuple(scaled)
  first: Any = numbers[0]
  if name == "gaussian_noise":
    return x + first * jax.random.normal(key, x.shape)
  if name == "shot_noise":
    return _counted(key, x * first, first) / first
  if name == "impulse_noise":
    drawn = jax.random.uniform(key, x.shape)
    white = jnp.where(drawn < first / 2, 1.0, x)
    return jnp.where(drawn >= 1 - first / 2, 0.0, white)
  if name == "defocus_blur":
    return blurs.defocused(x, *numbers)
  if name == "glass_blur":
    reach, rounds = max(1, round(numbers[1])), int(numbers[2])
    return blurs.through_glass(x, key, first, reach, rounds)
  if name == "motion_blur":
    angle = jax.random.uniform(key, minval=-jnp.pi / 4, maxval=jnp.pi / 4)
    return blurs.moved(x, angle, *numbers)
  if name == "snow":
    mean, deviation, size, *others = numbers
    return weather.snowed(x, key, mean, deviation, max(size, 1.0), *others)
  if name == "frost":
    return weather.frosted(x, key, *numbers)
  if name == "fog":
    return weather.fogged(x, key, *numbers)
  if name == "brightness":
    return _brighter(x, first)
  if name == "contrast":
    mean = jnp.mean(x, axis=(0, 1), keepdims=True)
    return (x - mean) * first + mean
  if name == "pixelate":
    return _pixelated(x, first)
  return _saturated(x, *numbers)


# Which of a corruption's numbers are lengths in pixels.
_LENGTHS: Mapping[str, tuple[int, ...]] = {
  "defocus_blur": (0, 1),
  "glass_blur": (0, 1),
  "motion_blur": (0, 1),
  "snow": (2, 4, 5),
}


def _counted(key: Array, mean: Array, most: float) -> Array:
  """Numbers of Poisson's distribution, by its inverse.

  `jax.random.poisson` knows threefry keys only.

  Args:
    key: of the draw.
    mean: of each number.
    most: the largest mean.
  """
  drawn = jax.random.uniform(key, mean.shape)
  start = jnp.exp(-mean)

  def add(k: Array, carry: tuple) -> tuple:
    found, term, total = carry
    found = found + (drawn > total)
    term = term * mean / (k + 1.0)
    return found, term, total + term

  # Six deviations above the mean, and some for means near 0.
  rounds = int(most + 6 * most**0.5 + 12)
  nothing = jnp.zeros_like(mean)
  return jax.lax.fori_loop(0, rounds, add, (nothing, start, start))[0]


def _brighter(x: Float[Array, "H W 3"], added: float) -> Float[Array, "H W 3"]:
  """The value of HSV moved; hue and saturation stay."""
  value = jnp.max(x, axis=-1, keepdims=True)
  moved = jnp.clip(value + added, 0, 1)
  return jnp.where(value > 0, x * moved / jnp.maximum(value, 1e-9), moved)


def _saturated(
  x: Float[Array, "H W 3"], factor: float, added: float
) -> Float[Array, "H W 3"]:
  """The saturation of HSV changed; grey has the hue of red."""
  value = jnp.max(x, axis=-1, keepdims=True)
  chroma = value - jnp.min(x, axis=-1, keepdims=True)
  before = chroma / jnp.maximum(value, 1e-9)
  after = jnp.clip(before * factor + added, 0, 1)
  # How far each channel lies below the value, in shares of the chroma.
  red = jnp.array([[[0.0, 1.0, 1.0]]])
  far = jnp.where(chroma > 0, (value - x) / jnp.maximum(chroma, 1e-9), red)
  return value * (1 - after * far)


def _pixelated(x: Float[Array, "H W 3"], share: float) -> Array:
  height, width, _ = x.shape
  for axis, size in ((0, height), (1, width)):
    less = max(1, int(size * share))
    both = _boxed(less, size) @ _boxed(size, less)
    x = jnp.moveaxis(
      jnp.tensordot(both, x, ((1,), (axis,)), precision=_HIGHEST), 0, axis
    )
  return x


def _boxed(size: int, to: int) -> Float[np.ndarray, "to size"]:
  """Matrix of Pillow's box filter from so many pixels to others."""
  ratio = size / to
  reach, centre = max(ratio, 1.0) / 2, ((np.arange(to) + 0.5) * ratio)[:, None]
  pixel = np.arange(size)[None]
  far = (pixel + 0.5 - centre) / (2 * reach)
  near = (far > -0.5) & (far <= 0.5)
  # Pixels that a rounding error would take in on both sides.
  near &= pixel >= np.floor(centre - reach + 0.5)
  near &= pixel < np.floor(centre + reach + 0.5)
  near = near.astype(np.float32)
  return near / near.sum(1, keepdims=True)
