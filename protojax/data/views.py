"""Views: several random variations of each example, some going on from others.

"crop,flip" is a list of augmentations. "weak+colour" goes on from the view
"weak", whose geometry it shares. Only the host can save a JPEG: "jpeg" is the
first of a list.
"""

from collections.abc import Mapping
import dataclasses
import zlib

import jax
import numpy as np

from protojax import parallel
from protojax.data import fields as fields_lib
from protojax.data import images, transforms
from protojax.types import Batch, UserError

JPEG = "jpeg"
_QUALITY = (30, 95)


@dataclasses.dataclass(frozen=True)
class View:
  """One random variation of an example.

  Attributes:
    name: '' if it is the only one.
    parent: the view that it goes on from; '' is the example as it was read.
    jpeg: whether the host saves its images as JPEG first.
    augment: names of what the device draws; see `transforms.draw`.
  """

  name: str
  parent: str
  jpeg: bool
  augment: str

  @property
  def varies(self) -> bool:
    """True if it is not the example as it was read."""
    return bool(self.parent or self.jpeg or self.augment)

  def require_images(self, fields: Mapping[str, fields_lib.Field]) -> None:
    """Raises a UserError if it needs images that are not there."""
    if self.jpeg and not _photographs(fields):
      raise UserError(
        f"{JPEG!r} needs an image of three channels, and there are only"
        f" {', '.join(fields)}"
      )
    channels = {
      name: field.channels
      for name, field in fields.items()
      if isinstance(field, fields_lib.Pixels)
    }
    for name in transforms.require_known(self.augment):
      _require_channels(name, channels)

  def saved(
    self,
    fields: Mapping[str, fields_lib.Field],
    batch: Batch,
    seed: int,
    epoch: int,
  ) -> Batch:
    """Images of a batch, saved as JPEG and read again, on the host.

    The quality depends on the seed, the epoch, the example and its draw alone,
    so that a resumed run repeats it.
    """
    known = [
      batch[name].tolist() for name in ("index", "draw") if name in batch
    ]
    qualities = [
      int(np.random.default_rng(key).integers(*_QUALITY, endpoint=True))
      for key in (
        (seed % 2**32, epoch, i, _number(self.name), *draw)
        for i, *draw in zip(*known, strict=True)
      )
    ]
    return {
      field: np.stack(list(map(images.through_jpeg, batch[field], qualities)))
      for field in _photographs(fields)
    }

  def layout(
    self, fields: Mapping[str, fields_lib.Field], batch: Batch
  ) -> Batch:
    """Shapes of what `saved` gives, from those of a batch."""
    return {field: batch[field] for field in _photographs(fields)}

  def varied(
    self, fields: Mapping[str, fields_lib.Field], batch: Batch, key: jax.Array
  ) -> Batch:
    """The batch with each example varied by a key of its own, on the device."""
    if not self.augment:
      return batch
    if self.name:
      key = jax.random.fold_in(key, _number(self.name))

    def example(key: jax.Array, values: Batch) -> Batch:
      drawn = transforms.draw(self.augment, key)
      return {n: fields[n].moved(value, drawn) for n, value in values.items()}

    keys = parallel.example_keys(key, batch["index"], batch.get("draw"))
    here = {name: batch[name] for name in fields if name in batch}
    return {**batch, **jax.vmap(example)(keys, here)}


def one(augment: str) -> tuple[View]:
  """The only view of a stream, by its augmentations.

  Raises:
    UserError: there is no augmentation of that name.
  """
  return (_parsed("", "", augment),)


def several(views: Mapping[str, str]) -> tuple[View, ...]:
  """Views by name, each after the one that it goes on from.

  Raises:
    UserError: a view is empty, or goes on from none that there is.
  """
  if not views:
    raise UserError("views={} has no view: name one, or leave views out")
  return tuple(_parsed(n, *_divided(n, views)) for n in _in_order(views))


def _in_order(views: Mapping[str, str]) -> list[str]:
  """Names of the views, parents first."""
  order: list[str] = []
  for name in views:
    line = [name]
    while parent := _divided(line[-1], views)[0]:
      if parent in line:
        raise UserError(
          f"views {' -> '.join([*line, parent])} go on from each other: start"
          " one of them from the image, such as 'crop,flip'"
        )
      line.append(parent)
    order += [found for found in reversed(line) if found not in order]
  return order


def _divided(name: str, views: Mapping[str, str]) -> tuple[str, str]:
  """The parent of a view, '' if it has none, and its own augmentations."""
  parent, plus, augment = views[name].rpartition("+")
  parent, augment = parent.strip(), augment.strip()
  if not (name and augment and (parent or not plus)):
    raise UserError(
      f"view {name!r} = {views[name]!r} is empty: give it a name and"
      " augmentations, such as weak='crop,flip' or strong='weak+colour'"
    )
  if name in fields_lib.TAKEN:
    raise UserError(
      f"a view is called {name!r}, which batches have for themselves, as"
      f" {', '.join(fields_lib.TAKEN)}: rename it"
    )
  if parent and parent not in views:
    raise UserError(
      f"view {name!r} goes on from {parent!r}, which is no view; there are"
      f" {', '.join(views)}"
    )
  return parent, augment


def _parsed(name: str, parent: str, augment: str) -> View:
  first, *rest = augment.split(",")
  jpeg = first.strip() == JPEG
  rest = ",".join(rest) if jpeg else augment
  if JPEG in map(str.strip, rest.split(",")) or (jpeg and parent):
    raise UserError(
      f"{JPEG!r} in {parent + '+' * bool(parent) + augment!r} follows what the"
      " device does, and only the host can save a JPEG: put it first, in a view"
      " that goes on from no other"
    )
  transforms.require_known(rest)
  return View(name, parent, jpeg, rest)


def _require_channels(name: str, channels: Mapping[str, int]) -> None:
  """Refuses an augmentation that cannot change these images, by field."""
  wanted = transforms.find(name).channels
  wrong = [field for field, count in channels.items() if count not in wanted]
  if not wanted or (channels and not wrong):
    return
  found = f"{wrong[0]!r} has {channels[wrong[0]]}" if wrong else "there is none"
  raise UserError(
    f"{name!r} needs an image of {' or '.join(map(str, wanted))} channels, and"
    f" {found}: leave it out, or make what has other channels a Grid"
  )


def _photographs(fields: Mapping[str, fields_lib.Field]) -> list[str]:
  return [n for n, field in fields.items() if field == fields_lib.Pixels(3)]


def _number(name: str) -> int:
  return zlib.crc32(name.encode())
