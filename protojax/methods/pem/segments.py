"""Segments of images: what masks and classes are learned from.

A segment is an object, or all pixels of a class. Segments do not overlap, so
that one plane with the number of each pixel's segment holds all masks.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from protojax.types import Array, ArrayLike, Batch

# The number of pixels without a segment, and the class of void in planes.
NONE = -1
VOID = 255


class Segments(NamedTuple):
  """The segments of images. Any: transformations store anything here.

  Attributes:
    plane: number of each pixel's segment, `NONE` where there is none, [b H W].
    classes: of each segment, [b t].
    valid: which of them there are, [b t].
  """

  plane: Any
  classes: Any
  valid: Any


def of_classes(mask: Int[ArrayLike, "b H W"], classes: int) -> Segments:
  """A segment for each class that an image shows.

  Args:
    mask: class of each pixel; `VOID` and what is no class belong to no segment.
    classes: k, the number of segments.
  """
  mask = jnp.asarray(mask)
  plane = jnp.where((mask >= 0) & (mask < classes), mask, NONE)
  flat = plane.reshape(len(plane), -1)
  valid = jax.vmap(
    lambda row: jnp.zeros(classes, bool).at[row].set(True, mode="drop")
  )(jnp.where(flat < 0, classes, flat))
  numbers = jnp.arange(classes, dtype=jnp.int32)
  return Segments(
    plane.astype(jnp.int32), jnp.tile(numbers, (len(plane), 1)), valid
  )


def of_instances(found: Batch) -> Segments:
  """The segments of a field of instances: "masks", "classes" and "valid"."""
  masks = jnp.asarray(found["masks"]) & found["valid"][..., None, None]
  number = jnp.argmax(masks, axis=1).astype(jnp.int32)
  plane = jnp.where(jnp.any(masks, axis=1), number, NONE)
  return Segments(plane, jnp.asarray(found["classes"]), found["valid"])


def of_batch(batch: Batch, classes: int, panoptic: bool) -> Segments:
  """Those of a batch: its "segments", or the classes of its "mask"."""
  if panoptic:
    return of_instances(batch["segments"])
  return of_classes(batch["mask"], classes)


def classes_of(segments: Segments) -> Int[Array, "b H W"]:
  """The class of each pixel, `VOID` where there is no segment."""
  number = jnp.maximum(segments.plane, 0)
  flat = number.reshape(len(number), -1)
  found = jnp.take_along_axis(segments.classes, flat, axis=1)
  return jnp.where(
    segments.plane < 0, VOID, found.reshape(number.shape)
  ).astype(jnp.int32)
