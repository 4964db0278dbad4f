"""Web images by lists: WebVision 1.0 and Google500.

A list has a line for each image, in one of the forms of `image_lists`. Names of
classes come from a table such as WebVision's info/synsets.txt, a line each.
"""

import os
from typing import Any

import numpy as np

from protojax import text_files
from protojax.datasets import image_lists, web_source
from protojax.datasets.files import Files
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True


def load(data: Any, split: str, seed: int) -> Files:
  """Opens the training split, web and few-shot images, or the test split.

  Args:
    data: `root`, the folder of the web images; `train` and `test`, lists;
      `test_root`, the folder of the test images, '' for root; `clean_list`, the
      list of few-shot images, '' for none; `clean`, their folder; `names`, the
      table of classes, '' for numbers; `shots`, few-shot images of each class.
    split: "train" or "test".
    seed: draws few-shot images, if the list has more.

  Raises:
    UserError: a list cannot be read, or an image is of no class.
  """
  if not data.root:
    raise UserError("no folder of images given: set --config.data.root=DIR")
  lines = image_lists.read(data.train)
  names = _names(data.names, max(line.label for line in lines) + 1)
  if split == "test":
    return _read(data.test_root or data.root, data.test, names)
  web = _read(data.root, data.train, names)
  few = Files(web.root, (), np.zeros(0, np.int32), names, ())
  if data.clean_list and data.shots:
    place = os.path.expanduser(data.clean) or data.root
    few = _read(place, data.clean_list, names)
    few = web_source.chosen(few, web_source.drawn(few, data.shots, seed))
  return web_source.together(web, few, _weights(lines, len(names)))


def _read(root: str, path: str, names: tuple[str, ...]) -> Files:
  lines = image_lists.read(path)
  labels = image_lists.labels(path, lines, names)
  return web_source.read(root, [line.file for line in lines], labels, names)


def _names(path: str, count: int) -> tuple[str, ...]:
  """Names of the classes."""
  if not path:
    return tuple(f"class {k}" for k in range(count))
  lines = text_files.read(os.path.expanduser(path)).splitlines()
  found = tuple(line.strip() for line in lines if line.strip())
  if len(found) < count or len(set(found)) < len(found):
    raise UserError(
      f"{path} names {len(set(found))} classes, and the list has labels up to"
      f" {count - 1}: name each once, in the order of the labels"
    )
  return found


def _weights(lines: list[image_lists.Line], count: int) -> np.ndarray | None:
  """Weights of the classes, if the list has them."""
  found = np.ones(count)
  for line in lines:
    if not line.weight:
      return None
    found[line.label] = line.weight
  return found
