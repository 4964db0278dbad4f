"""Fields: what an example holds, how the host reads it, and what moves it.

A source may have `fields`, a mapping from names to the classes of this module.
A batch holds each field by its name: an array, or a dictionary of arrays that
belong together. A draw of the geometry moves all fields of an example alike.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Bool, Float
import numpy as np

from protojax.data import geometry, transforms
from protojax.data.array_checks import array, between, finite, padded, parts
from protojax.data.resizing import Frame
from protojax.data.source import Source, origin
from protojax.types import PyTree, UserError

# The names of what a batch holds beside the fields: always, of a stream that
# varies, of an explanation, of an evaluation.
TAKEN = ("index", "valid", "jpeg", "draw", "copies", "object", "parts")


@runtime_checkable
class Field(Protocol):
  """What an example holds under one name."""

  def layout(self, size: int) -> PyTree:
    """Shapes and dtypes of one example.

    Args:
      size: side of images, in pixels.
    """
    ...

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Arrays of that layout from what a source gives.

    Args:
      value: of one example.
      frame: what the network sees of its image.

    Raises:
      ValueError: says what was found and what is expected.
    """
    ...

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """One example's arrays after a draw of augmentations, on the device."""
    ...


@dataclasses.dataclass(frozen=True)
class Pixels:
  """An image: uint8 [H W c]; the augmentations of colour change it, too."""

  channels: int = 3

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((size, size, self.channels), np.uint8)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """The image in the frame."""
    return frame.pixels(array(value, np.uint8, "H", "W", self.channels))

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """Moves and colours it; the result is float32, 0..255."""
    return drawn.pixels(value.astype("float32"))


@dataclasses.dataclass(frozen=True)
class Grid:
  """Values in space: float [H W c], such as MRI, topomaps and latents."""

  channels: int

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((size, size, self.channels), np.float32)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """The grid in the frame."""
    grid = finite(array(value, np.floating, "H", "W", self.channels))
    return frame.pixels(grid.astype(np.float32))

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """Moves it as pixels, bilinear."""
    return drawn.grid(value)


@dataclasses.dataclass(frozen=True)
class Classes:
  """The class of each pixel: int [H W].

  Attributes:
    ignore: the value of pixels whose class is unknown, such as those that an
      augmentation brings in from outside the image.
  """

  ignore: int = 255

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((size, size), np.int32)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes the nearest pixels of the frame."""
    plane = between(array(value, np.integer, "H", "W"), 0, 2**31 - 1)
    return frame.nearest(plane.astype(np.int32))

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """Moves it, nearest."""
    if not (moves := drawn.moves):
      return value
    return geometry.nearest(moves, *value.shape).of(value, self.ignore)


@dataclasses.dataclass(frozen=True)
class Instances:
  """Objects as masks: {"masks": bool [t H W], "classes": int [t]}.

  A batch also has "valid" [t], False for padding and for what is out of sight.

  Attributes:
    most: t of a batch; a source may give fewer.
  """

  most: int

  def layout(self, size: int) -> PyTree:
    """Shapes and dtypes."""
    masks = jax.ShapeDtypeStruct((self.most, size, size), np.bool_)
    return {"masks": masks, **_things(self.most)}

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes the nearest pixels of the frame."""
    masks, classes = parts(value, "masks", "classes")
    masks = frame.nearest(array(masks, np.bool_, "t", "H", "W"))
    seen = np.logical_or(masks.any((1, 2)), frame.whole)
    known = _known(classes, seen, self)
    return {"masks": padded(masks, self.most), **known}

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """Moves the masks, nearest."""
    if not (moves := drawn.moves):
      return value
    masks = value["masks"]
    places = geometry.nearest(moves, *masks.shape[1:])
    masks = jax.vmap(lambda mask: places.of(mask, False))(masks)
    valid = value["valid"] & masks.any((1, 2))
    return {**value, "masks": masks, "valid": valid}


@dataclasses.dataclass(frozen=True)
class Boxes:
  """Objects in boxes: {"boxes": float [t 4], "classes": int [t]}.

  A box is (top, left, bottom, right) in shares of the image. A batch also has
  "valid" [t], False for padding and for what is out of sight.

  Attributes:
    most: t of a batch; a source may give fewer.
  """

  most: int

  def layout(self, size: int) -> PyTree:
    """Shapes and dtypes."""
    boxes = jax.ShapeDtypeStruct((self.most, 4), np.float32)
    return {"boxes": boxes, **_things(self.most)}

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Cuts the boxes off at the frame, and pads them."""
    boxes, classes = parts(value, "boxes", "classes")
    boxes = between(finite(array(boxes, np.floating, "t", 4)), 0, 1)
    if np.any(boxes[:, :2] >= boxes[:, 2:]):
      raise ValueError(
        "found an empty box, expected top < bottom, left < right"
      )
    boxes, seen = frame.boxes(boxes)
    boxes = padded(boxes.astype(np.float32), self.most)
    return {"boxes": boxes, **_known(classes, seen, self)}

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """Moves the corners; the box is around what is still in sight."""
    if not (moves := drawn.moves):
      return value
    boxes, seen = geometry.boxes(moves, value["boxes"])
    return {**value, "boxes": boxes, "valid": value["valid"] & seen}


class _Placeless:
  """What lies nowhere in the image: no draw moves it."""

  def moved(self, value: PyTree, drawn: transforms.Drawn) -> PyTree:
    """The value as it is."""
    return value


@dataclasses.dataclass(frozen=True)
class Label(_Placeless):
  """A class: an int, -1 if it is unknown.

  The one named "label" is read from the source's `labels`.
  """

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((), np.int32)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes a number."""
    return between(array(value, np.integer), -1, 2**31 - 1).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Labels(_Placeless):
  """Several classes: int [count], each 1 (yes), 0 (no) or -1 (unknown)."""

  count: int

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((self.count,), np.int32)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes the numbers."""
    labels = between(array(value, np.integer, self.count), -1, 1)
    return labels.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Group(_Placeless):
  """The number of the volume, slide or generator that an example is of.

  It is read from the source's `groups`. Splits keep a group whole.
  """

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return Label().layout(size)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes a number."""
    return Label().read(value, frame)


@dataclasses.dataclass(frozen=True)
class Vector(_Placeless):
  """Numbers of a fixed count: float [length]."""

  length: int

  def layout(self, size: int) -> PyTree:
    """Shape and dtype."""
    return jax.ShapeDtypeStruct((self.length,), np.float32)

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes the numbers."""
    return finite(array(value, np.floating, self.length)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Tokens(_Placeless):
  """Words as numbers: int [l].

  A batch holds {"tokens": int32 [length], "valid": bool [length]}.

  Attributes:
    length: l of a batch; a source may give fewer.
  """

  length: int

  def layout(self, size: int) -> PyTree:
    """Shapes and dtypes."""
    return {
      "tokens": jax.ShapeDtypeStruct((self.length,), np.int32),
      "valid": jax.ShapeDtypeStruct((self.length,), np.bool_),
    }

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Pads the tokens."""
    tokens = between(array(value, np.integer, "l"), 0, 2**31 - 1)
    valid = padded(np.ones(len(tokens), bool), self.length)
    return {
      "tokens": padded(tokens.astype(np.int32), self.length),
      "valid": valid,
    }


@dataclasses.dataclass(frozen=True)
class Bag(_Placeless):
  """Any number of vectors: float [n channels].

  A batch holds {"vectors": float32 [b n channels], "valid": bool [b n]}. All
  bags of a step are padded to one n, a power of two. A source of bags has
  `sizes(name) -> int [examples]`, the number of vectors in each bag.
  """

  channels: int

  def layout(self, size: int) -> PyTree:
    """Shapes and dtypes of a bag that is not padded yet, without vectors."""
    return {
      "vectors": jax.ShapeDtypeStruct((0, self.channels), np.float32),
      "valid": jax.ShapeDtypeStruct((0,), np.bool_),
    }

  def read(self, value: Any, frame: Frame) -> PyTree:
    """Takes the vectors."""
    vectors = finite(array(value, np.floating, "n", self.channels))
    return vectors.astype(np.float32)

  def padded(
    self, vectors: Float[np.ndarray, "n channels"], length: int
  ) -> PyTree:
    """What a batch holds of one bag."""
    valid = padded(np.ones(len(vectors), bool), length)
    return {"vectors": padded(vectors, length), "valid": valid}


_PHOTOGRAPHS: Mapping[str, Field] = {"image": Pixels(), "label": Label()}


def of(source: Source) -> Mapping[str, Field]:
  """Fields of a source by name; an image and a label if it names none."""
  whole, _ = origin(source)
  found = getattr(whole, "fields", _PHOTOGRAPHS)
  for name in TAKEN:
    if name in found:
      raise UserError(
        f"a source has a field {name!r}, which batches have for themselves, as"
        f" {', '.join(TAKEN)}: rename it"
      )
  return found


def shape(
  fields: Mapping[str, Field], given: Mapping[str, Any]
) -> tuple[int, int] | None:
  """Height and width of what an example shows; None if it shows nothing.

  Args:
    fields: of the source.
    given: what the source gives of the example.
  """
  for name, field in fields.items():
    value, first = given.get(name), 0
    if isinstance(field, Instances) and isinstance(value, Mapping):
      value, first = value.get("masks"), 1
    elif not isinstance(field, (Pixels, Grid, Classes)):
      continue
    # Values of another kind are refused when the field is read.
    sides = getattr(value, "shape", ())[first : first + 2]
    if len(sides) == 2 and min(sides) > 0:
      return sides
  return None


def _things(most: int) -> PyTree:
  return {
    "classes": jax.ShapeDtypeStruct((most,), np.int32),
    "valid": jax.ShapeDtypeStruct((most,), np.bool_),
  }


def _known(
  classes: Any, seen: Bool[np.ndarray, " t"], field: Instances | Boxes
) -> PyTree:
  """Classes of some objects, and which of them are in sight."""
  classes = between(array(classes, np.integer, len(seen)), 0, 2**31 - 1)
  return {
    "classes": padded(classes.astype(np.int32), field.most),
    "valid": padded(seen, field.most),
  }
