"""Draws how the device varies examples.

A training step calls `draw` inside jit, with a key for each example.
"""

from collections.abc import Callable
import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from protojax.data import geometry, photometric, scanner, warps
from protojax.modify import corruptions
from protojax.types import UserError

# Ranges of ProtoPNet's offline augmentation (its code, `img_aug.py`).
_ANGLE = math.radians(15)
_SKEW = 0.2
_CORNER = 1 / 4  # share of Augmentor's skews that pull a corner, not a side
_SHEAR = math.radians(10)
_ZOOM = (0.6, 1.0)  # share of the area in a random crop
_ASPECT = (3 / 4, 4 / 3)
# ST-ProtoPNet's, for whole images (torchvision's RandomAffine) and for cropped
# ones (Augmentor's `random_distortion`).
_AFFINE_ANGLE, _AFFINE_SHEAR = math.radians(25), math.radians(15)
_MESH = 10  # tiles on a side
_MESH_SHIFT = 5 / 224  # of a vertex, as a share of the side, at most
# DeepLab's, for classes of pixels, and that of the larger ADE20K.
_SCALES, _WIDE_SCALES = (0.5, 1.5), (0.5, 2.0)
_JITTER = 0.2  # brightness, contrast and saturation: factors 0.8..1.2
# What images go through on the web: shares of the side, sigma in pixels.
_SHIFT, _HOLE, _BLUR = 0.15, (0.1, 0.4), (0.2, 2.0)
_KERNEL = 6  # pixels on each side
_SHARES = (0.9, 0.75, 0.5)
_SOMETIMES = "?"


class Augmentation(NamedTuple):
  """A random change of an image.

  Attributes:
    draw: key -> what is drawn: a matrix, a mesh, a box, a flag, factors.
    pixels: (image, what was drawn) -> image.
    move: what was drawn -> what moves points; None if it changes pixels where
      they are.
    channels: numbers of channels of the images that it can change; (): any.
  """

  draw: Callable[[Array], Any]
  pixels: Callable[[Array, Any], Array]
  move: Callable[[Any], geometry.Move] | None = None
  channels: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Drawn:
  """One draw of some augmentations, which moves all fields of an example alike.

  Attributes:
    steps: each augmentation and what was drawn for it, in order.
  """

  steps: tuple[tuple[Augmentation, Any], ...]

  def pixels(self, image: Float[Array, "H W c"]) -> Float[Array, "H W c"]:
    """An image 0..255, moved and changed in colour; the range stays."""
    for augmentation, drawn in self.steps:
      image = augmentation.pixels(image, drawn)
    return image

  def grid(self, values: Float[Array, "H W c"]) -> Float[Array, "H W c"]:
    """Values of any range, moved as the pixels are."""
    for augmentation, drawn in self.steps:
      if augmentation.move is not None:
        values = augmentation.pixels(values, drawn)
    return values

  @property
  def moves(self) -> list[geometry.Move]:
    """What `geometry.nearest` and `geometry.boxes` take."""
    return [
      augmentation.move(drawn)
      for augmentation, drawn in self.steps
      if augmentation.move is not None
    ]


def draw(names: str, key: Key[Array, ""] | UInt32[Array, "_"]) -> Drawn:
  """Draws augmentations for one example; under vmap, for each of a batch.

  Args:
    names: keys of `AUGMENTATIONS`, joined by commas and applied in this order,
      such as "warp,flip"; '' draws nothing. "blur?" is blur half of the time.
    key: of all randomness.

  Raises:
    UserError: there is no augmentation of that name.
  """
  steps = []
  for number, name in enumerate(require_known(names)):
    augmentation = find(name)
    drawn = augmentation.draw(jax.random.fold_in(key, number))
    steps.append((augmentation, drawn))
  return Drawn(tuple(steps))


def require_known(names: str) -> list[str]:
  """The names in a list such as "warp,flip".

  Raises:
    UserError: a name is not in `AUGMENTATIONS`.
  """
  steps = [name.strip() for name in names.split(",")] if names else []
  for name in steps:
    if name.removesuffix(_SOMETIMES) not in AUGMENTATIONS:
      raise UserError(
        f"no augmentation {name!r}; there are {', '.join(AUGMENTATIONS)},"
        " and any of them joined by commas"
      )
  return steps


def find(name: str) -> Augmentation:
  """The augmentation of a known name, which may end in "?"."""
  found = AUGMENTATIONS[name.removesuffix(_SOMETIMES)]
  return _sometimes(found) if name.endswith(_SOMETIMES) else found


def _sometimes(one: Augmentation) -> Augmentation:
  """An augmentation that is applied half of the time."""

  def draw(key: Array) -> Any:
    for_whether, for_drawn = jax.random.split(key)
    return jax.random.bernoulli(for_whether), one.draw(for_drawn)

  def pixels(image: Array, drawn: Any) -> Array:
    applied, inner = drawn
    return jnp.where(applied, one.pixels(image, inner), image)

  def move(drawn: Any) -> geometry.Move:
    applied, inner = drawn
    found = one.move(inner) if one.move else jnp.eye(3)
    if isinstance(found, geometry.Bent):
      return geometry.Bent(
        jnp.where(applied, found.matrix, jnp.eye(3)),
        jnp.where(applied, found.mesh, 0),
      )
    return jnp.where(applied, found, jnp.eye(3))

  return Augmentation(draw, pixels, move if one.move else None, one.channels)


def _box(key: Array) -> Array:
  """A box of random size, aspect and place."""
  for_area, for_aspect, for_place = jax.random.split(key, 3)
  area = jax.random.uniform(for_area, (), minval=_ZOOM[0], maxval=_ZOOM[1])
  log_aspect = jax.random.uniform(
    for_aspect, (), minval=math.log(_ASPECT[0]), maxval=math.log(_ASPECT[1])
  )
  stretch = jnp.exp(jnp.array([0.5, -0.5]) * log_aspect)
  size = jnp.minimum(jnp.sqrt(area) * stretch, 1.0)
  place = jax.random.uniform(for_place, (2,)) * (1 - size)
  return jnp.concatenate([place, size])


def _mirrored(image: Array, flipped: Array) -> Array:
  return jnp.where(flipped, image[:, ::-1], image)


def _factors(key: Array) -> Array:
  return jax.random.uniform(key, (3,), minval=1 - _JITTER, maxval=1 + _JITTER)


def _coloured(image: Array, factors: Array) -> Array:
  """Changes brightness, contrast (around the mean grey) and saturation."""
  brightness, contrast, saturation = factors
  image = image * brightness
  grey = jnp.sum(image * jnp.array([0.299, 0.587, 0.114])[None, None], axis=-1)
  image = (image - grey.mean()) * contrast + grey.mean()
  grey = ((grey - grey.mean()) * contrast + grey.mean())[..., None]
  return jnp.clip((image - grey) * saturation + grey, 0, 255)


def _sigma(key: Array) -> Array:
  return jax.random.uniform(key, (), minval=_BLUR[0], maxval=_BLUR[1])


def _blurred(image: Array, sigma: Array) -> Array:
  return corruptions.blurred(image[None], sigma, _KERNEL)[0]


def _which_share(key: Array) -> Array:
  return jax.random.randint(key, (), 0, len(_SHARES))


def _resampled(image: Array, which: Array) -> Array:
  """Smaller and back, by one of a few shares: shapes are fixed."""
  made = [corruptions.resized(image[None], share)[0] for share in _SHARES]
  return jnp.stack(made)[which]


def _hole(key: Array) -> Array:
  """A square: left, top and side, as shares."""
  for_side, for_place = jax.random.split(key)
  side = jax.random.uniform(for_side, (), minval=_HOLE[0], maxval=_HOLE[1])
  place = jax.random.uniform(for_place, (2,)) * (1 - side)
  return jnp.append(place, side)


def _cut_out(image: Array, hole: Array) -> Array:
  """Black in the hole."""
  height, width, _ = image.shape
  left, top, side = hole
  y = (jnp.arange(height) + 0.5)[:, None, None] / height
  x = (jnp.arange(width) + 0.5)[None, :, None] / width
  inside = (y > top) & (y < top + side) & (x > left) & (x < left + side)
  return jnp.where(inside, 0, image)


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


def _affine(key: Array) -> Array:
  """A rotation after a shear along x, both about the centre."""
  for_angle, for_shear = jax.random.split(key)
  return warps.affine(
    _within(for_angle, _AFFINE_ANGLE), _within(for_shear, _AFFINE_SHEAR)
  )


def _shift(key: Array) -> Array:
  """Moves by up to a share of the side, on both axes."""
  # From -1 to 1 an image has two units.
  most = 2 * _SHIFT
  offset = jax.random.uniform(key, (2,), minval=-most, maxval=most)
  return jnp.eye(3).at[:2, 2].set(offset)


def _on_black(image: Array, matrix: Array) -> Array:
  """A warp that is black where it looks outside the image."""
  return _on(jnp.zeros(image.shape[-1]), image, matrix)


def _on_mean(image: Array, matrix: Array) -> Array:
  """A warp that has the image's mean colour where it looks outside of it."""
  return _on(jnp.mean(image, axis=(0, 1)), image, matrix)


def _on(colour: Array, image: Array, matrix: Array) -> Array:
  inside = geometry.nearest([matrix], *image.shape[:2]).inside
  warped = geometry.warp(image, matrix)
  return jnp.where(inside[..., None], warped, colour[None, None])


def _scale(scales: tuple[float, float], key: Array) -> Array:
  """Resizes by a factor, then pads below and on the right, or crops."""
  for_scale, for_place = jax.random.split(key)
  low, high = scales
  side = 1 / jax.random.uniform(for_scale, (), minval=low, maxval=high)
  place = jax.random.uniform(for_place, (2,)) * jnp.maximum(1 - side, 0)
  return warps.zoom(jnp.concatenate([place, jnp.stack([side, side])]))


def _distortion(key: Array) -> geometry.Bent:
  """Vertices of a mesh are displaced, all but those at the edges."""
  inner = (_MESH - 1, _MESH - 1, 2)
  most = 2 * _MESH_SHIFT
  mesh = jax.random.uniform(key, inner, minval=-most, maxval=most)
  return geometry.Bent(jnp.eye(3), jnp.pad(mesh, ((1, 1), (1, 1), (0, 0))))


def _one_of_four(key: Array) -> geometry.Bent:
  for_kind, for_matrix, for_mesh = jax.random.split(key, 3)
  kind = jax.random.randint(for_kind, (), 0, 4)
  warped, bent = _one_of_three(for_matrix), _distortion(for_mesh)
  return geometry.Bent(
    jnp.where(kind < 3, warped, bent.matrix), jnp.where(kind < 3, 0, bent.mesh)
  )


def _warped(draw: Callable[[Array], geometry.Move]) -> Augmentation:
  return Augmentation(draw, geometry.warp, _itself)


def _itself(move: geometry.Move) -> geometry.Move:
  return move


AUGMENTATIONS: dict[str, Augmentation] = {
  "flip": Augmentation(jax.random.bernoulli, _mirrored, warps.mirror),
  "crop": Augmentation(_box, geometry.crop, warps.zoom),
  "colour": Augmentation(_factors, _coloured, channels=(1, 3)),
  # SSD's, for segments.
  "photometric": Augmentation(
    photometric.draw, photometric.changed, channels=(3,)
  ),
  "rotate": _warped(_rotation),
  "skew": _warped(_skew),
  "shear": _warped(_shear),
  # A rotation, skew or shear; "warp,flip" is ProtoPNet's recipe.
  "warp": _warped(_one_of_three),
  # ST-ProtoPNet's, for whole images and for cropped ones.
  "affine": Augmentation(_affine, _on_black, _itself),
  "distort": _warped(_distortion),
  # For classes of pixels: what lies outside gets the mean colour, and no class.
  "scale": Augmentation(functools.partial(_scale, _SCALES), _on_mean, _itself),
  "scale_wide": Augmentation(
    functools.partial(_scale, _WIDE_SCALES), _on_mean, _itself
  ),
  # A rotation, skew, shear or distortion.
  "bend": _warped(_one_of_four),
  # What images go through on the web, black where nothing is.
  "shift": Augmentation(_shift, _on_black, _itself),
  "blur": Augmentation(_sigma, _blurred),
  "resample": Augmentation(_which_share, _resampled),
  "cutout": Augmentation(_hole, _cut_out),
  # What differs from scanner to scanner, of grey images.
  "bias": Augmentation(scanner.bias, scanner.biased),
  "rician": Augmentation(scanner.noise, scanner.noisy),
  "gamma": Augmentation(scanner.gamma, scanner.powered),
}
