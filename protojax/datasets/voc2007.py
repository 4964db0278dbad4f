"""PASCAL VOC 2007: photographs with 20 kinds of objects, as labels and boxes.

Everingham et al. (2010). Read from the unpacked archives: a folder VOC2007 with
Annotations, ImageSets/Main and JPEGImages, at the root or in its VOCdevkit. A
kind of which an image shows nothing but difficult objects is unknown there, as
in the devkit.
"""

from collections.abc import Iterator
import os
from typing import Any
from xml.etree import ElementTree

from protojax import text_files
from protojax.datasets import tagged_files
from protojax.datasets.tagged_files import Tagged, TaggedFiles
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
SEVERAL = True
PUBLISHED = {"classes": 20, "train": 5_011, "test": 4_952}

CLASS_NAMES = (
  *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
  *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person"),
  *("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_SPLITS = {name: name for name in ("trainval", "train", "val", "test")}
_SIZE = ("width", "height")
_EDGES = ("xmin", "ymin", "xmax", "ymax")
# The devkit's numbers: 0 is difficult.
_TAGS = {"1": 1, "0": -1, "-1": 0}


def load(data: Any, split: str, seed: int) -> TaggedFiles:
  """Opens a split: "trainval", "train", "val" or "test".

  Raises:
    UserError: a file is missing, or not as expected.
  """
  del seed
  name = tagged_files.split_of(data, split, _SPLITS)
  home = _home(os.path.expanduser(data.root))
  tags: dict[str, list[int]] = {}
  for number, label in enumerate(CLASS_NAMES):
    path = os.path.join(home, "ImageSets", "Main", f"{label}_{name}.txt")
    for image, tag in _lines(path):
      tags.setdefault(image, [-1] * len(CLASS_NAMES))[number] = tag
  rows = [
    Tagged(f"JPEGImages/{image}.jpg", found, _boxes(home, image))
    for image, found in tags.items()
  ]
  return tagged_files.opened(home, rows, CLASS_NAMES, boxed=True)


def _home(root: str) -> str:
  places = ("VOC2007", os.path.join("VOCdevkit", "VOC2007"), "")
  for place in places:
    home = os.path.join(root, place)
    if os.path.isdir(os.path.join(home, "ImageSets", "Main")):
      return home
  raise UserError(
    f"{root} has no VOC2007/ImageSets/Main: unpack VOCtrainval_06-Nov-2007.tar"
    " and VOCtest_06-Nov-2007.tar there"
  )


def _lines(path: str) -> Iterator[tuple[str, int]]:
  """Each image of a list, and its number."""
  for n, line in enumerate(text_files.read(path).splitlines(), 1):
    parts = line.split()
    if not parts:
      continue
    if len(parts) != 2 or parts[1] not in _TAGS:
      raise UserError(
        f"{path}, line {n}: found {line:.40!r}, expected an image and 1, 0 or"
        " -1"
      )
    yield parts[0], _TAGS[parts[1]]


def _boxes(home: str, image: str) -> tuple:
  """The boxes of an image; none where its annotation is not there."""
  path = os.path.join(home, "Annotations", f"{image}.xml")
  if not os.path.exists(path):
    return ()
  content = text_files.read(path)
  try:
    if "<!DOCTYPE" in content:  # it could define endless entities
      raise ValueError("it declares a document type")
    tree = ElementTree.fromstring(content)
    width, height = (float(tree.findtext(f"size/{x}", "")) for x in _SIZE)
    found = [
      (
        [float(thing.findtext(f"bndbox/{e}", "")) for e in _EDGES],
        CLASS_NAMES.index(thing.findtext("name", "")),
      )
      for thing in tree.iter("object")
    ]
  except (ValueError, ElementTree.ParseError) as error:
    raise UserError(
      f"{path} is no annotation of VOC ({error}): unpack it again"
    ) from error
  return tagged_files.boxes_of(found, width, height)
