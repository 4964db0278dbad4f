"""Patches: those that prototypes were pushed to, and those nearest to them.

Each image is read once, for all prototypes that it is shown with.
`prototype_evidence` puts the patches into the global explanations.
"""

from collections.abc import Callable, Collection, Sequence
import dataclasses
from typing import Any

from jaxtyping import Int
import numpy as np

from protojax.data import images as images_lib
from protojax.data import objects
from protojax.explain import shapes
from protojax.explain.context import Context
from protojax.explain.crop_differences import resized
from protojax.explain.evidence import Crop, Neighbour, Patch
from protojax.prototypes.neighbours import Neighbours
from protojax.types import Box, Picture, UserError


def of_prototypes(
  training: Callable[[], Any],
  context: Context,
  wanted: Collection[int],
  pictured: Collection[int],
  *,
  allow_changed: bool,
  optional: bool,
) -> dict[int, Patch]:
  """The patch of a training image that each prototype was pushed to.

  A prototype whose image is gone gets no patch, even if changes are allowed.

  Args:
    training: gives the stream of images that the prototypes were pushed to;
      raises `UserError` if they are gone.
    context: the model and its state.
    wanted: numbers of the prototypes.
    pictured: those of them that get pictures.
    allow_changed: accept images that have changed since the push.
    optional: give no patches, and no error, if images are gone or changed.

  Raises:
    UserError: a training image is not the one a prototype was pushed to.
  """
  try:
    stream = training()
  except UserError:
    if optional:
      return {}
    raise
  provenance, heat_maps = context.bank.provenance, context.heat_maps
  wanted = np.isin(np.arange(len(provenance.image)), list(wanted))
  taken = wanted & (provenance.image >= 0)
  patches = {}
  for index in np.unique(provenance.image[taken]).tolist():
    own = np.flatnonzero(taken & (provenance.image == index)).tolist()
    image, name = None, f"number {index}"
    if index < len(stream):
      name = repr(stream.source.name(index))
      image = stream.examples([index])["image"][0]
    if not allow_changed and not _is(image, provenance.content[own[0]]):
      if optional:
        return {}
      raise UserError(
        f"training image {name} is not the one that prototype {own[0]} was"
        " pushed to: the data have changed since. Put the images back, train"
        " again, or explain all the same with --allow-stale."
      )
    if image is None:
      continue
    whole = stream.source[index]["image"].shape
    frame = stream.resizing.frame(whole, stream.image_size)
    for j, (box, heat) in zip(own, heat_maps(image, own, index), strict=True):
      cell = int(provenance.cell[j])
      show = j in pictured
      patches[j] = Patch(
        image=stream.source.name(index),
        index=index,
        cell=cell,
        box=box,
        field=heat_maps.field(cell),
        original_box=frame.original(box, whole),
        ratio=shapes.ratio(stream, index),
        on_object=_on_object(stream, index, box),
        picture=image if show else None,
        heat=heat if show else None,
        crop=crop(image, box),
      )
  return patches


def nearest(
  context: Context,
  found: Neighbours,
  wanted: Sequence[int],
  pictured: Collection[int],
) -> dict[int, tuple[Neighbour, ...]]:
  """The images nearest to each prototype, the nearest first.

  Args:
    context: the model and the images.
    found: neighbours of all prototypes, with their cells as "place", and with
      "delta"; distances are negated similarities.
    wanted: numbers of the prototypes whose neighbours are wanted.
    pictured: those of them whose neighbours get pictures.
  """
  shown = [j for j in wanted if j in pictured]
  pictures = _pictures(context, found.images, shown)
  names = context.preset.names

  def one(j: int, rank: int) -> Neighbour:
    index, label = int(found.images[j, rank]), int(found.labels[j, rank])
    delta = found.more["delta"][j, rank].tolist()
    neighbour = Neighbour(
      image=context.stream.source.name(index),
      index=index,
      label=context.model.class_names[label] if label >= 0 else None,
      similarity=-float(found.distances[j, rank]),
      cell=int(found.more["place"][j, rank]),
      because=dict(zip(names, delta, strict=True)),
    )
    if (j, index) not in pictures:
      return neighbour
    picture, box = pictures[j, index]
    return dataclasses.replace(
      neighbour,
      box=box,
      picture=picture,
      crop=crop(picture, box),
      ratio=shapes.ratio(context.stream, index),
    )

  return {
    j: tuple(
      one(j, rank) for rank in np.flatnonzero(found.images[j] >= 0).tolist()
    )
    for j in wanted
  }


def crop(image: Picture, box: Box) -> Crop:
  """The content of a box, at the size that `crop_differences` compares."""
  return resized(image[box.top : box.bottom, box.left : box.right])


def _pictures(
  context: Context, images: Int[np.ndarray, "p k"], shown: Sequence[int]
) -> dict[tuple[int, int], tuple[Picture, Box]]:
  """(prototype, image) -> the image and the box of the prototype in it."""
  pictures = {}
  taken = images[np.asarray(shown, int)]
  for index in np.unique(taken[taken >= 0]).tolist():
    rows = np.flatnonzero((taken == index).any(axis=1)).tolist()
    near = [shown[row] for row in rows]
    image = context.stream.examples([index])["image"][0]
    seen = context.heat_maps(image, near, index)
    for j, (box, _) in zip(near, seen, strict=True):
      pictures[j, index] = image, box
  return pictures


def _on_object(stream: Any, index: int, box: Box) -> float | None:
  """The share of a box on the marked objects of an image; None if unknown."""
  if not isinstance(stream.source, objects.Boxed):
    return None
  found = objects.masks(stream, [index])
  return None if found is None else objects.share(found[0], box)


def _is(image: Picture | None, content: Any) -> bool:
  """Whether an image has this digest of its pixels; False for no image."""
  return image is not None and np.array_equal(images_lib.digest(image), content)
