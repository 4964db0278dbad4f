"""Folders of web images and of a few clean ones, each sorted by class.

  root/web/<class>/*      root/clean/<class>/*      root/test/<class>/*

Without test/, the clean images that are no few-shot images are tested on.
Who knows the truth of web images writes root/truth.csv, with the columns
`image`, relative to root, and `truth`, a class or nothing if it shows none: the
metrics compare with it, and nothing else does.
WebFG-496 has root/train/<class>/* and root/val/<class>/*, and its few-shot
images lie elsewhere, in a folder of classes or by a list `image@class`.
"""

import dataclasses
import os
from typing import Any

import numpy as np

from protojax import csv_files
from protojax.datasets import folder, image_lists, web_source
from protojax.datasets.files import Files
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True

_TRUTH = "truth.csv"
# Of an image that shows none of the classes, and of one that nobody knows.
_NOTHING, _UNKNOWN = -1, -2


def load(data: Any, split: str, seed: int) -> Files:
  """Opens the training split, web and few-shot images, or the test split.

  Args:
    data: `root`; `train` and `test`, names of the folders of web and of test
      images; `clean`, the folder of clean ones, in root or any; `clean_list`, a
      list of few-shot images in it, '' draws them; `shots`, few-shot images of
      each class.
    split: "train" or "test".
    seed: draws few-shot images.

  Raises:
    UserError: a folder is not there, or its classes are not those of the web.
  """
  root = os.path.expanduser(data.root)
  if not root or not os.path.isdir(root):
    said = f"{data.root} is no folder" if root else "no folder of images given"
    raise UserError(f"{said}: set --config.data.root=DIR")
  web = _of_classes(os.path.join(root, data.train), data.train, "train")
  tested = os.path.join(root, data.test)
  apart = os.path.isdir(tested)
  if split == "test" and apart:
    return _same(_of_classes(tested, data.test, "test"), web)
  few, rest = _clean(root, data, web, seed)
  if split == "test":
    if rest is None or not len(rest):
      raise UserError(
        f"{root} has no {data.test}/, and no clean image is left to test on:"
        f" add {data.test}/<class>/*, or more images to {data.clean}/"
      )
    return rest
  return _with_truth(root, web_source.together(web, few))


def _with_truth(root: str, found: web_source.WebFiles) -> web_source.WebFiles:
  """The images with what a table says that they show."""
  path = os.path.join(root, _TRUTH)
  if not os.path.isfile(path):
    return found
  table = csv_files.read(path)
  if not {"image", "truth"} <= set(table.columns):
    raise UserError(f"{path} needs the columns 'image' and 'truth'")
  at = {
    os.path.normpath(os.path.join(found.root, name)): i
    for i, name in enumerate(found.names)
  }
  classes = {name: k for k, name in enumerate(found.class_names)}
  truth = np.full(len(found), _UNKNOWN, np.int32)
  truth[found.trusted] = found.labels[found.trusted]
  for line, cells in table.rows:
    name, said = cells.get("image", ""), cells.get("truth", "")
    i = at.get(os.path.normpath(os.path.abspath(os.path.join(root, name))))
    if i is None:
      raise UserError(f"{path}, line {line}: no web image is {name!r}")
    if said and said not in classes:
      raise UserError(f"{path}, line {line}: there is no class {said!r}")
    truth[i] = classes[said] if said else _NOTHING
  return dataclasses.replace(found, truth=truth)


def _clean(
  root: str, data: Any, web: Files, seed: int
) -> tuple[Files, Files | None]:
  """The few-shot images; the other clean ones, if they are not in a list."""
  place = os.path.join(root, os.path.expanduser(data.clean))
  if data.clean_list:
    lines = image_lists.read(data.clean_list)
    labels = image_lists.labels(data.clean_list, lines, web.class_names)
    files = [line.file for line in lines]
    found = web_source.read(place, files, labels, web.class_names)
    return web_source.chosen(
      found, web_source.drawn(found, data.shots, seed)
    ), None
  if not os.path.isdir(place):
    if data.shots:
      raise UserError(
        f"{place} is no folder of clean images: add it, name another with"
        " --config.data.clean=DIR, or train on the web alone with"
        " --config.data.shots=0"
      )
    return Files(root, (), np.zeros(0, np.int32), web.class_names, ()), None
  clean = _same(_of_classes(place, data.clean, "clean"), web)
  few = web_source.drawn(clean, data.shots, seed)
  rest = np.setdiff1d(np.arange(len(clean)), few)
  return web_source.chosen(clean, few), web_source.chosen(clean, rest)


def _of_classes(place: str, name: str, key: str) -> Files:
  """All images of a folder of classes."""
  if not os.path.isdir(place):
    raise UserError(
      f"{place} is no folder: expected {name}/<class>/*; name another with"
      f" --config.data.{key}=NAME"
    )
  return folder.of_classes(place)


def _same(found: Files, web: Files) -> Files:
  """Requires the classes of the web."""
  own, other = set(found.class_names), set(web.class_names)
  if own != other:
    only = sorted(own ^ other)[:4]
    raise UserError(
      f"the classes of {found.root} and {web.root} differ:"
      f" {', '.join(only)} {'is' if len(only) == 1 else 'are'} in one of them"
      " alone"
    )
  return found
