"""Folders of images with a text each, as the tools of the field write them.

  root/train/metadata.jsonl   {"file_name": "a.jpg", "text": "a red cup"}
  root/train/...              a.jpg, and so on; root/test/ alike

as Hugging Face's ImageFolder has them; or a text beside each image, with the
suffix .txt, as img2dataset writes them: root/train/a.jpg, root/train/a.txt.
Without root/train the images of `root` are divided by a seed.
"""

import dataclasses
import os
from typing import Any, TypedDict

import numpy as np

from protojax import json_files, text_files
from protojax.data import splits as splits_lib
from protojax.datasets import files, image_check
from protojax.datasets.files import Files
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True

_TABLE = "metadata.jsonl"
_MOST_BYTES = 1 << 20  # of one text


class _Line(TypedDict):
  file_name: str
  text: str


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionedFiles(Files):
  """Images and their texts; see `Files`.

  Attributes:
    captions: a text for each image.
  """

  captions: tuple[str, ...] = ()


def load(data: Any, split: str, seed: int) -> CaptionedFiles:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`; `train` and `test`, names of the folders of the splits; and
      `test_fraction`, the share to test on where there are none.
    split: "train" or "test".
    seed: divides the images, if no folder does.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  root = os.path.expanduser(data.root)
  if not root or not os.path.isdir(root):
    said = f"{data.root} is no folder" if root else "no folder of images given"
    raise UserError(f"{said}: set --config.data.root=DIR")
  own = os.path.join(root, data[split])
  if os.path.isdir(os.path.join(root, data.train)):
    if not os.path.isdir(own):
      raise UserError(f"{root} has {data.train}/, but no {data[split]}/")
    return _opened(own)
  whole = _opened(root)
  if len(set(whole.names)) < 2:
    raise UserError(f"{root} has a single image; two splits need two")
  held = set(splits_lib.held_out(whole.names, data.test_fraction, seed))
  rows = [i for i in range(len(whole)) if (i in held) == (split == "test")]
  return dataclasses.replace(
    whole,
    names=tuple(whole.names[i] for i in rows),
    labels=whole.labels[rows],
    captions=tuple(whole.captions[i] for i in rows),
  )


def _opened(root: str) -> CaptionedFiles:
  """All images of a folder that have a text and can be read.

  Raises:
    UserError: there is none.
  """
  listed, passed_over = files.below(root)
  skipped = {os.path.relpath(p, root): why for p, why in passed_over.items()}
  names = [os.path.relpath(path, root) for path in listed]
  table = os.path.join(root, _TABLE)
  if os.path.isfile(table):
    texts, missing = _of_table(table, set(names)), f"{_TABLE} has no line of it"
  else:
    texts, missing = _beside(root, names), "no .txt lies beside it"
  skipped |= {name: missing for name in names if name not in texts}
  skipped |= image_check.unreadable(root, [n for n in names if n in texts])
  found = tuple(n for n in names if n in texts and n not in skipped)
  if not found:
    first = "".join(f" ({n}: {why})" for n, why in list(skipped.items())[:1])
    raise UserError(
      f"{root} has no image with a text{first}: write {_TABLE} with a line"
      ' {"file_name": "a.jpg", "text": "..."} for each, or a.txt beside a.jpg'
    )
  return CaptionedFiles(
    root,
    found,
    np.full(len(found), -1, np.int32),
    (),
    tuple(skipped.items()),
    tuple(texts[name] for name in found),
  )


def _of_table(path: str, there: set[str]) -> dict[str, str]:
  """Image -> its text, by a table.

  Raises:
    UserError: an image is not there, is listed twice, or its text says nothing.
  """
  found: dict[str, str] = {}
  for line, row in json_files.read_lines(path, _Line):
    name, text = os.path.normpath(row["file_name"]), row["text"].strip()
    if name not in there:
      raise UserError(f"{path}, line {line}: there is no image {name}")
    if name in found:
      raise UserError(f"{path}, line {line}: {name} is listed twice")
    if not text:
      raise UserError(f"{path}, line {line}: the text of {name} is empty")
    found[name] = text
  return found


def _beside(root: str, names: list[str]) -> dict[str, str]:
  """Image -> the text in the file beside it, where there is one."""
  found = {}
  for name in names:
    path = os.path.join(root, os.path.splitext(name)[0] + ".txt")
    if os.path.isfile(path) and (text := text_files.read(path, _MOST_BYTES)):
      found[name] = " ".join(text.split())
  return {name: text for name, text in found.items() if text}
