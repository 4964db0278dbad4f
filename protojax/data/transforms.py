"""Resizing on the host and random variation on the device.

`resize` runs once an image, in the pipeline; `augment` runs in every training
step, inside jit, one key an image.
"""

from collections.abc import Callable
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8, UInt32
import numpy as np
from PIL import Image

from protojax.types import UserError

# Ranges of ProtoPNet's offline augmentation (Augmentor: rotate, skew, shear).
_ANGLE = math.radians(15)
_TILT = 0.2
_SHEAR = math.tan(math.radians(10))
_ZOOM = (0.6, 1.0)  # share of the area that a random crop keeps
_ASPECT = (3 / 4, 4 / 3)
_JITTER = 0.2  # brightness, contrast and saturation: factors 0.8..1.2


def resize(
  image: UInt8[np.ndarray, "H W 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
  """The image as a square, its aspect not kept: Pillow's bilinear filter."""
  if image.shape[:2] == (size, size):
    return image
  resample = Image.Resampling.BILINEAR
  return np.array(Image.fromarray(image).resize((size, size), resample))


def augment(
  name: str,
  image: Float[Array, "H W 3"],
  key: Key[Array, ""] | UInt32[Array, "_"],
) -> Float[Array, "H W 3"]:
  """A random variation of one image; map it over a batch with a key each.

  Args:
    name: one of `AUGMENTATIONS`; '' leaves the image as it is.
    image: pixels in 0..255, and so is the result.
    key: decides everything that is random.

  Raises:
    UserError: there is no augmentation of that name.
  """
  require_known(name)
  return AUGMENTATIONS[name](image, key)


def require_known(name: str) -> None:
  """Raises UserError unless `name` is one of `AUGMENTATIONS`."""
  if name not in AUGMENTATIONS:
    known = ", ".join(repr(n) for n in AUGMENTATIONS)
    raise UserError(f"no augmentation {name!r}; there are {known}")


def warp(
  image: Float[Array, "H W 3"], matrix: Float[Array, "3 3"]
) -> Float[Array, "H W 3"]:
  """Projective warp with bilinear sampling; beyond the border, its colour.

  Args:
    image: pixels.
    matrix: takes homogeneous places (x, y, 1) of the result to places in the
      image; x and y run from -1 to 1 between the outer edges of the pixels.
  """
  height, width, _ = image.shape
  y, x = jnp.meshgrid(_centres(height), _centres(width), indexing="ij")
  places = jnp.stack([x, y, jnp.ones_like(x)])
  u, v, w = jnp.einsum(
    "ij,jhw->ihw", matrix, places, precision=jax.lax.Precision.HIGHEST
  )
  column = jnp.clip(((u / w + 1) * width - 1) / 2, 0, width - 1)
  row = jnp.clip(((v / w + 1) * height - 1) / 2, 0, height - 1)
  left = jnp.minimum(column.astype(jnp.int32), width - 2)
  top = jnp.minimum(row.astype(jnp.int32), height - 2)
  right_share = (column - left)[..., None]
  bottom_share = (row - top)[..., None]
  # One gather of 2x2 neighbours by their flat index: half the time of four.
  flat = image.reshape(height * width, 3)
  at = top * width + left
  upper = flat[at] * (1 - right_share) + flat[at + 1] * right_share
  lower = (
    flat[at + width] * (1 - right_share) + flat[at + width + 1] * right_share
  )
  return upper * (1 - bottom_share) + lower * bottom_share


def crop(
  image: Float[Array, "H W 3"], box: Float[Array, "4"]
) -> Float[Array, "H W 3"]:
  """A box of the image at the size of the image, bilinear.

  Two products with interpolation matrices: no gather, fast on every device.

  Args:
    image: pixels.
    box: left, top, width and height as shares of the image.
  """
  height, width, _ = image.shape
  rows = _interpolation(box[1], box[3], height)
  columns = _interpolation(box[0], box[2], width)
  # HIGHEST: TF32 would round grey levels to multiples of 1/8.
  return jnp.einsum(
    "ij,jkc,lk->ilc", rows, image, columns, precision=jax.lax.Precision.HIGHEST
  )


def _flip(image: Array, key: Array) -> Array:
  return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def _crop_flip(image: Array, key: Array) -> Array:
  """Random resized crop, then flip."""
  for_area, for_aspect, for_place, for_flip = jax.random.split(key, 4)
  area = jax.random.uniform(for_area, (), minval=_ZOOM[0], maxval=_ZOOM[1])
  log_aspect = jax.random.uniform(
    for_aspect, (), minval=math.log(_ASPECT[0]), maxval=math.log(_ASPECT[1])
  )
  stretch = jnp.exp(jnp.array([0.5, -0.5]) * log_aspect)
  size = jnp.minimum(jnp.sqrt(area) * stretch, 1.0)
  place = jax.random.uniform(for_place, (2,)) * (1 - size)
  return _flip(crop(image, jnp.concatenate([place, size])), for_flip)


def _crop_flip_colour(image: Array, key: Array) -> Array:
  """Random resized crop and flip, then other colours."""
  for_crop, for_colour = jax.random.split(key)
  return _colour(_crop_flip(image, for_crop), for_colour)


def _colour(image: Array, key: Array) -> Array:
  """Brightness, contrast around the mean grey, saturation around the grey."""
  brightness, contrast, saturation = jax.random.uniform(
    key, (3,), minval=1 - _JITTER, maxval=1 + _JITTER
  )
  image = image * brightness
  grey = jnp.sum(image * jnp.array([0.299, 0.587, 0.114])[None, None], axis=-1)
  image = (image - grey.mean()) * contrast + grey.mean()
  grey = ((grey - grey.mean()) * contrast + grey.mean())[..., None]
  return jnp.clip((image - grey) * saturation + grey, 0, 255)


def _affine(image: Array, key: Array) -> Array:
  """Rotation, tilt or shear, one of them at random, then flip.

  The paper's augmentation, online (protopnet, section 5 of its code). As there,
  each is zoomed until no border shows.
  """
  for_kind, for_amount, for_axis, for_flip = jax.random.split(key, 4)
  amount = jax.random.uniform(for_amount, (), minval=-1, maxval=1)
  kind = jax.random.randint(for_kind, (), 0, 3)
  matrix = jnp.stack([_rotation(amount), _tilt(amount), _shear(amount)])[kind]
  # Tilt and shear go along x or along y.
  swap = jnp.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
  turned = swap @ matrix @ swap
  matrix = jnp.where(jax.random.bernoulli(for_axis), turned, matrix)
  return _flip(warp(image, matrix), for_flip)


def _rotation(amount: Array) -> Array:
  cos, sin = jnp.cos(amount * _ANGLE), jnp.sin(amount * _ANGLE)
  zoom = 1 / (cos + jnp.abs(sin))
  cos, sin, zero = cos * zoom, sin * zoom, jnp.zeros(())
  return _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, zero + 1]])


def _tilt(amount: Array) -> Array:
  # One side keeps its length, of the other 1 / (1 + 2 m) is seen.
  m = _TILT * jnp.abs(amount)
  c, zero = jnp.sign(amount) * m / (1 + m), jnp.zeros(())
  one = zero + 1
  return _matrix([[one, zero, c], [zero, 1 - jnp.abs(c), zero], [c, zero, one]])


def _shear(amount: Array) -> Array:
  m, zero = _SHEAR * amount, jnp.zeros(())
  one = zero + 1
  return _matrix(
    [[1 - jnp.abs(m), m, zero], [zero, one, zero], [zero, zero, one]]
  )


def _matrix(rows: list[list[Array]]) -> Array:
  return jnp.stack([jnp.stack(row) for row in rows])


def _centres(size: int) -> Array:
  return (2 * jnp.arange(size) + 1) / size - 1


def _interpolation(start: Array, length: Array, size: int) -> Array:
  """Matrix [size, size] that samples `size` places of a part of an axis."""
  at = (start + length * (jnp.arange(size) + 0.5) / size) * size - 0.5
  at = jnp.clip(at, 0, size - 1)
  return jnp.maximum(1 - jnp.abs(at[:, None] - jnp.arange(size)[None]), 0)


AUGMENTATIONS: dict[str, Callable[[Array, Array], Array]] = {
  "": lambda image, key: image,
  "flip": _flip,
  "crop_flip": _crop_flip,
  "crop_flip_colour": _crop_flip_colour,
  "affine": _affine,
}
