"""Resizes images on the host and varies them at random on the device.

`memory` calls `resize` once for each image. A training step calls `augment`
inside jit, with a key for each image.
"""

from collections.abc import Callable
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8, UInt32
import numpy as np
from PIL import Image

from protojax.data import warps
from protojax.types import UserError

# Ranges of ProtoPNet's offline augmentation (its code, `img_aug.py`).
_ANGLE = math.radians(15)
_SKEW = 0.2
_CORNER = 1 / 4  # share of Augmentor's skews that pull a corner, not a side
_SHEAR = math.radians(10)
_ZOOM = (0.6, 1.0)  # share of the area in a random crop
_ASPECT = (3 / 4, 4 / 3)
_JITTER = 0.2  # brightness, contrast and saturation: factors 0.8..1.2


def resize(
  image: UInt8[np.ndarray, "H W 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
  """Squashes an image to a square, by Pillow's bilinear filter."""
  if image.shape[:2] == (size, size):
    return image
  resample = Image.Resampling.BILINEAR
  return np.array(Image.fromarray(image).resize((size, size), resample))


def augment(
  names: str,
  image: Float[Array, "H W 3"],
  key: Key[Array, ""] | UInt32[Array, "_"],
) -> Float[Array, "H W 3"]:
  """Varies one image at random; under vmap, each image of a batch.

  Args:
    names: keys of `AUGMENTATIONS`, joined by commas and applied in this order,
      such as "warp,flip"; '' leaves the image as it is.
    image: pixels 0..255; the result has the same range.
    key: of all randomness.

  Raises:
    UserError: there is no augmentation of that name.
  """
  for number, name in enumerate(require_known(names)):
    image = AUGMENTATIONS[name](image, jax.random.fold_in(key, number))
  return image


def require_known(names: str) -> list[str]:
  """The names in a list such as "warp,flip".

  Raises:
    UserError: a name is not in `AUGMENTATIONS`.
  """
  steps = [name.strip() for name in names.split(",")] if names else []
  for name in steps:
    if name not in AUGMENTATIONS:
      raise UserError(
        f"no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)},"
        " and any of them joined by commas"
      )
  return steps


def _flip(image: Array, key: Array) -> Array:
  return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def _crop(image: Array, key: Array) -> Array:
  """Enlarges a box of random size, aspect and place."""
  for_area, for_aspect, for_place = jax.random.split(key, 3)
  area = jax.random.uniform(for_area, (), minval=_ZOOM[0], maxval=_ZOOM[1])
  log_aspect = jax.random.uniform(
    for_aspect, (), minval=math.log(_ASPECT[0]), maxval=math.log(_ASPECT[1])
  )
  stretch = jnp.exp(jnp.array([0.5, -0.5]) * log_aspect)
  size = jnp.minimum(jnp.sqrt(area) * stretch, 1.0)
  place = jax.random.uniform(for_place, (2,)) * (1 - size)
  return warps.crop(image, jnp.concatenate([place, size]))


def _colour(image: Array, key: Array) -> Array:
  """Changes brightness, contrast (around the mean grey) and saturation."""
  brightness, contrast, saturation = jax.random.uniform(
    key, (3,), minval=1 - _JITTER, maxval=1 + _JITTER
  )
  image = image * brightness
  grey = jnp.sum(image * jnp.array([0.299, 0.587, 0.114])[None, None], axis=-1)
  image = (image - grey.mean()) * contrast + grey.mean()
  grey = ((grey - grey.mean()) * contrast + grey.mean())[..., None]
  return jnp.clip((image - grey) * saturation + grey, 0, 255)


# Random matrices, as for ProtoPNet's offline copies. Augmentor itself draws
# whole degrees and pixels, and interpolates by cubics before the resizing.


def _rotation(key: Array) -> Array:
  return warps.rotation(_within(key, _ANGLE))


def _skew(key: Array) -> Array:
  """Pulls a side outwards or, in a quarter of the cases, a corner."""
  for_share, for_kind, for_side = jax.random.split(key, 3)
  share = jax.random.uniform(for_share, (), maxval=_SKEW)
  at_corner = jax.random.bernoulli(for_kind, _CORNER)
  matrix = jnp.where(at_corner, warps.corner(share), warps.tilt(share))
  return _any_side(matrix, for_side)


def _shear(key: Array) -> Array:
  """Shears along x or along y."""
  for_angle, for_side = jax.random.split(key)
  return _any_side(warps.shear(_within(for_angle, _SHEAR)), for_side)


def _within(key: Array, bound: float) -> Array:
  return jax.random.uniform(key, (), minval=-bound, maxval=bound)


def _any_side(matrix: Array, key: Array) -> Array:
  """The same warp after a random symmetry: at another side, or mirrored."""
  turn = jax.random.choice(key, jnp.asarray(warps.symmetries(), jnp.float32))
  return turn @ matrix @ turn.T


def _one_of_three(key: Array) -> Array:
  for_kind, for_matrix = jax.random.split(key)
  matrices = [draw(for_matrix) for draw in (_rotation, _skew, _shear)]
  return jnp.stack(matrices)[jax.random.randint(for_kind, (), 0, 3)]


def _warped(draw: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
  return lambda image, key: warps.warp(image, draw(key))


AUGMENTATIONS: dict[str, Callable[[Array, Array], Array]] = {
  "flip": _flip,
  "crop": _crop,
  "colour": _colour,
  "rotate": _warped(_rotation),
  "skew": _warped(_skew),
  "shear": _warped(_shear),
  # A rotation, skew or shear; "warp,flip" is ProtoPNet's recipe.
  "warp": _warped(_one_of_three),
}
