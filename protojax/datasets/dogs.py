"""Stanford Dogs: 20,580 dogs of 120 breeds, with a box for every dog.

Khosla et al., Novel Dataset for Fine-Grained Image Categorization, 2011. Read
from the original files in one folder, packed or unpacked: images.tar,
annotation.tar and lists.tar. An image may show several dogs of its breed.
"""

from collections.abc import Mapping
import functools
import os
from typing import Any
from xml.etree import ElementTree

import numpy as np

from protojax.datasets import matlab, photo_records
from protojax.datasets.archive import Archive
from protojax.datasets.photo_records import Listing, Photo
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
PREPARES = "Stanford Dogs: a folder with its archives, unpacked or not"
WRITES = "dogs"
TRAINS = "protopnet_dogs"
PUBLISHED = {"classes": 120, "train": 12_000, "test": 8_580}

_LISTS = {"train": "train_list.mat", "test": "test_list.mat"}
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read(files: Archive) -> Listing:
  """Lists the dogs.

  Raises:
    UserError: a list or an annotation is missing, or not as expected.
  """
  lists = matlab.lists(files, _LISTS.values())
  try:
    rows = [
      (split, str(name), int(label) - 1)
      for split, file in _LISTS.items()
      for name, label in zip(
        np.atleast_1d(lists[file]["file_list"]),
        np.atleast_1d(lists[file]["labels"]),
        strict=True,
      )
    ]
  except (ValueError, KeyError, TypeError) as e:
    raise UserError(
      f"the lists of {files.title} are not those of Stanford Dogs ({e!r})"
    ) from e
  places = _places(files)
  annotations = _annotations(files, places, [name for _, name, _ in rows])
  breeds = {label: name.split("/")[0] for _, name, label in rows}
  if sorted(breeds) != list(range(len(breeds))):
    raise UserError(f"the lists of {files.title} leave out a breed")
  return Listing(
    name=WRITES,
    class_names=tuple(breeds[label] for label in sorted(breeds)),
    photos=tuple(
      Photo(
        path=places.get(("Images", name), f"Images/{name}"),
        name=name,
        label=label,
        split=split,
        boxes=annotations[name],
      )
      for split, name, label in rows
    ),
    boxes="objects",
  )


def _places(files: Archive) -> dict[tuple[str, str], str]:
  """("Images" or "Annotation", breed/file) -> name in the archive."""
  found = {}
  for name in files.names:
    for kind in ("Images", "Annotation"):
      _, inside, rest = f"/{name}".partition(f"/{kind}/")
      if inside:
        found[kind, rest] = name
  return found


def _annotations(
  files: Archive, places: Mapping[tuple[str, str], str], names: list[str]
) -> dict[str, Any]:
  """Name of an image -> its boxes."""
  of_place = {
    places.get(("Annotation", stem), f"Annotation/{stem}"): name
    for name in names
    for stem in (os.path.splitext(name)[0],)
  }
  found = {
    of_place[place]: _boxes(files, place, content)
    for place, content in files.read(of_place)
  }
  missing = [place for place, name in of_place.items() if name not in found]
  if missing:
    raise UserError(
      f"{files.title} lacks {missing[0]}: get annotation.tar again"
    )
  return found


def _boxes(
  files: Archive, place: str, content: bytes
) -> tuple[tuple[int, int, int, int], ...]:
  try:
    if b"<!DOCTYPE" in content:  # it could define endless entities
      raise ValueError("it declares a document type")
    found = []
    for box in ElementTree.fromstring(content).iter("bndbox"):
      left, top, right, bottom = (int(box.findtext(e, "")) for e in _EDGES)
      found.append((left, top, right - left, bottom - top))
    return tuple(found)
  except (ValueError, ElementTree.ParseError) as e:
    raise UserError(
      f"{place} in {files.title} is no annotation of dogs ({e}): get it again"
    ) from e


prepare = functools.partial(photo_records.write, read)
