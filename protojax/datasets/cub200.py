"""CUB-200-2011: 11,788 birds of 200 species, with boxes and 15 parts.

Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011. Read from
CUB_200_2011.tgz. Boxes have whole pixels, as those of ProtoPNet's data.
"""

from collections.abc import Iterator, Mapping
import functools

import numpy as np

from protojax.datasets import photo_records
from protojax.datasets.archive import Archive
from protojax.datasets.photo_records import Listing, Photo
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
PREPARES = "birds: CUB_200_2011.tgz, or the folder that is in it"
WRITES = "cub200"
TRAINS = "protopnet_cub200"
PUBLISHED = {"classes": 200, "train": 5_994, "test": 5_794}

_LISTS = (
  "images.txt",
  "image_class_labels.txt",
  "train_test_split.txt",
  "bounding_boxes.txt",
  "classes.txt",
  "parts/parts.txt",
  "parts/part_locs.txt",
)


def read(files: Archive) -> Listing:
  """Lists the birds.

  Each bird has a feature "parts" [15, 3]: x and y in pixels of the whole image,
  and 1 if the part is seen. The metadata name the parts.

  Raises:
    UserError: a list is missing, or not as expected.
  """
  import tensorflow_datasets as tfds

  home = _home(files)
  lists = dict(files.read(f"{home}{name}" for name in _LISTS))
  missing = [name for name in _LISTS if f"{home}{name}" not in lists]
  if missing:
    raise UserError(
      f"{files.title} lacks {home}{missing[0]}, which CUB_200_2011.tgz holds:"
      " get it again"
    )
  text = {
    name: lists[f"{home}{name}"].decode("utf-8", "surrogateescape")
    for name in _LISTS
  }
  try:
    class_names = _column(text["classes.txt"])
    part_names = _column(text["parts/parts.txt"])
    photos = tuple(_photos(home, text, list(class_names), len(part_names)))
  except (ValueError, KeyError, IndexError) as e:
    raise UserError(
      f"the lists of {files.title} do not fit together ({e!r}): get it again"
    ) from e
  return Listing(
    name=WRITES,
    class_names=tuple(class_names.values()),
    photos=photos,
    boxes="bbox",
    more={
      "parts": tfds.features.Tensor(
        shape=(len(part_names), 3), dtype=np.float32
      )
    },
    metadata={"parts": list(part_names.values())},
  )


def _home(files: Archive) -> str:
  """The folder of images.txt, with a slash at its end."""
  found = [name for name in files.names if f"/{name}".endswith("/images.txt")]
  if not found:
    raise UserError(
      f"{files.title} has no images.txt: it is not CUB_200_2011.tgz, nor a"
      " folder with what that holds"
    )
  return min(found, key=len).removesuffix("images.txt")


def _photos(
  home: str, text: Mapping[str, str], classes: list[str], parts: int
) -> Iterator[Photo]:
  names = _column(text["images.txt"])
  label_of = _column(text["image_class_labels.txt"])
  is_training = _column(text["train_test_split.txt"])
  boxes = _column(text["bounding_boxes.txt"])
  places = {name: np.zeros((parts, 3), np.float32) for name in names}
  for line in text["parts/part_locs.txt"].splitlines():
    number, part, *place = line.split()
    places[number][int(part) - 1] = [float(x) for x in place]
  for number, name in names.items():
    left, top, width, height = (int(float(x)) for x in boxes[number].split())
    yield Photo(
      path=f"{home}images/{name}",
      name=name,
      label=classes.index(label_of[number]),
      split="train" if int(is_training[number]) else "test",
      boxes=((left, top, width, height),),
      more={"parts": places[number]},
    )


def _column(text: str) -> dict[str, str]:
  """Number at the start of a line -> the rest of the line."""
  lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
  return {number: rest.strip() for number, rest in lines}


prepare = functools.partial(photo_records.write, read)
