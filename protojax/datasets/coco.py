"""MS-COCO: photographs with 80 kinds of objects, as labels and boxes.

Lin et al. (2014). Read from the original files below one folder:
annotations/instances_train2014.json and train2014/*.jpg, and the same of
val2014; or of 2017. A label is there if an object of its kind is, also one in a
crowd. Every image is known to lack all other labels.
"""

import os
from typing import Any

from protojax import json_files, text_files
from protojax.datasets import tagged_files
from protojax.datasets.tagged_files import Tagged, TaggedFiles
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
SEVERAL = True
PUBLISHED = {"classes": 80, "train": 82_783, "test": 40_504}

_SPLITS = {
  name: name for name in ("train2014", "val2014", "train2017", "val2017")
}
# instances_train2017.json has 448 MB.
_MOST_BYTES = 1 << 30


def load(data: Any, split: str, seed: int) -> TaggedFiles:
  """Opens a split: "train2014" or "val2014", "train2017" or "val2017".

  Raises:
    UserError: a file is missing, or not as expected.
  """
  del seed
  root = os.path.expanduser(data.root)
  name = tagged_files.split_of(data, split, _SPLITS)
  path = os.path.join(root, "annotations", f"instances_{name}.json")
  try:
    content = json_files.parsed(
      text_files.read(path, _MOST_BYTES), dict[str, Any]
    )
    names, rows = _rows(content, name)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise UserError(
      f"{path} is no list of instances of MS-COCO ({error!r}): get it again"
    ) from error
  return tagged_files.opened(root, rows, names, boxed=True)


def _rows(
  content: dict[str, Any], folder: str
) -> tuple[list[str], list[Tagged]]:
  """Labels in the order of their numbers, and the images."""
  categories = sorted(content["categories"], key=lambda c: c["id"])
  number = {c["id"]: n for n, c in enumerate(categories)}
  objects: dict[int, list] = {image["id"]: [] for image in content["images"]}
  for thing in content["annotations"]:
    objects[thing["image_id"]].append(thing)
  rows = []
  for image in content["images"]:
    own = objects[image["id"]]
    tags = [0] * len(number)
    boxes = []
    for thing in own:
      label = number[thing["category_id"]]
      tags[label] = 1
      x, y, w, h = map(float, thing["bbox"])
      boxes.append(((x, y, x + w, y + h), label))
    sides = float(image["width"]), float(image["height"])
    found = tagged_files.boxes_of(boxes, *sides)
    rows.append(Tagged(f"{folder}/{image['file_name']}", tags, found))
  return [c["name"] for c in categories], rows
