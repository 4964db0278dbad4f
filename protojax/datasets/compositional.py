"""Images with captions, and a mask for each pair that a caption says.

  root/train/metadata.jsonl  {"file_name": "a.png", "text": "a red cup and a
                              blue cat", "masks": ["a-0.png", "a-1.png"]}
  root/train/...             the images and masks; root/test/ alike

A mask is a picture of the image's size that is 0 outside of the thing; masks
are in the order of the pairs of the text. `prepare` writes such a folder from
candidates: images that any generator made of texts, with the things that any
segmenter found and named, and a score of any judge:

  source/metadata.jsonl  {"file_name": "a.png", "text": "...", "score": 0.9,
                          "things": [{"text": "a red cup", "mask": "m.png"}]}

Of each text the best candidates are kept whose things are all its pairs, by
attributes and noun, as VSC's training set was made (2505.01104, as a
third-party note tells it).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import json
import os
from pathlib import Path
import shutil
from typing import Any, TypedDict

import numpy as np

from protojax import json_files
from protojax.data import images as images_lib
from protojax.data.fields import Field, Instances, Pixels
from protojax.data.splits import draw
from protojax.datasets import files, image_check
from protojax.datasets.array_records import Outcome
from protojax.datasets.captioned_folder import CaptionedFiles
from protojax.types import UserError
from protojax.writing import replacing

# Things of an image, at most.
MOST = 8
# What is declared of a data set; see `protojax.datasets`.
FOLDERS = True
FIELDS: Mapping[str, Field] = {"image": Pixels(), "things": Instances(MOST)}
PREPARES = "images of texts with masks of their things, the best of candidates"
WRITES = "compositional"
TRAINS = "vsc_folder"
# `prepare` takes a function that divides texts, too.
DIVIDES = True

_TABLE = "metadata.jsonl"
# Of each text's candidates so many are kept; the paper kept 45 of 300.
_KEPT = 45
# Share of the texts to test on.
_TEST = 0.1


class _Line(TypedDict):
  file_name: str
  text: str
  masks: list[str]


class _Thing(TypedDict):
  text: str
  mask: str


class _Candidate(TypedDict):
  file_name: str
  text: str
  score: float
  things: list[_Thing]


@dataclasses.dataclass(frozen=True, eq=False)
class Compositions(CaptionedFiles):
  """Images, texts and masks; see `CaptionedFiles`.

  Attributes:
    masks: names of the masks of each image.
  """

  masks: tuple[tuple[str, ...], ...] = ()

  @property
  def fields(self) -> Mapping[str, Field]:
    """The image, and the masks of its things."""
    return FIELDS

  def __getitem__(self, i: int) -> dict:
    example = super().__getitem__(i)
    shape = example["image"].shape[:2]
    masks = [self._mask(name, shape) for name in self.masks[i]]
    found = np.stack(masks) if masks else np.zeros((0, *shape), bool)
    classes = np.zeros(len(found), np.int32)
    return {**example, "things": {"masks": found, "classes": classes}}

  def _mask(self, name: str, shape: tuple[int, ...]) -> Any:
    path = os.path.join(self.root, name)
    try:
      mask = np.any(images_lib.decode(path), axis=-1)
    except ValueError as error:
      raise UserError(f"the mask {path} cannot be read: {error}") from error
    if mask.shape != shape:
      raise UserError(
        f"the mask {path} has {mask.shape[0]} x {mask.shape[1]} pixels; its"
        f" image has {shape[0]} x {shape[1]}"
      )
    return mask


def load(data: Any, split: str, seed: int) -> Compositions:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`; `train` and `test`, names of the folders of the splits.
    split: "train" or "test".
    seed: ignored.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  root = os.path.join(os.path.expanduser(data.root), data[split])
  table = os.path.join(root, _TABLE)
  if not data.root or not os.path.isfile(table):
    raise UserError(
      f"there is no {table}: set --config.data.root=DIR, a folder that python"
      " -m protojax prepare compositional wrote"
    )
  rows = [row for _, row in json_files.read_lines(table, _Line)]
  for row in rows:
    if len(row["masks"]) > MOST:
      raise UserError(
        f"{table}: {row['file_name']} has {len(row['masks'])} masks; at most"
        f" {MOST} are taken"
      )
  bad = image_check.unreadable(root, [row["file_name"] for row in rows])
  found = [row for row in rows if row["file_name"] not in bad]
  if not found:
    raise UserError(f"{table} names no image that can be read")
  return Compositions(
    root,
    tuple(row["file_name"] for row in found),
    np.full(len(found), -1, np.int32),
    (),
    tuple(bad.items()),
    tuple(row["text"] for row in found),
    tuple(tuple(row["masks"]) for row in found),
  )


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], Any],
  advance: Callable[[], Any],
  said: Callable[[str], Sequence[str]],
) -> Outcome:
  """Writes both splits; the images of a text are all in one of them.

  Args:
    source: a folder of candidates.
    output: the folder to write to; made if it is not there.
    begin: called with the number of candidates.
    advance: called after each.
    said: text -> what each of its pairs says by itself, in their order.

  Raises:
    UserError: the source is not as expected, or the output holds something.
  """
  home = Path(output)
  if home.exists() and (not home.is_dir() or any(home.iterdir())):
    raise UserError(
      f"{home} holds something already: empty it, or take another --output"
    )
  table = os.path.join(os.path.expanduser(source), _TABLE)
  if not os.path.isfile(table):
    raise UserError(
      f"--source={source} has no {_TABLE}; expected a line for each candidate,"
      ' {"file_name": "a.png", "text": "...", "score": 0.9, "things":'
      ' [{"text": "a red cup", "mask": "m.png"}]}'
    )
  candidates = [row for _, row in json_files.read_lines(table, _Candidate)]
  begin(len(candidates))
  kept: dict[str, list[tuple[_Candidate, list[str]]]] = {}
  skipped = []
  for row in sorted(candidates, key=lambda row: -row["score"]):
    masks, why = _matched(row, said(row["text"]))
    of_text = kept.setdefault(row["text"], [])
    if not why and len(of_text) >= _KEPT:
      why = f"{_KEPT} better ones of its text are kept"
    if why:
      skipped.append((row["file_name"], why))
    else:
      of_text.append((row, masks))
    advance()
  texts = [text for text, rows in kept.items() if rows]
  if len(texts) < 2:
    raise UserError(
      f"of {len(candidates)} candidates those of {len(texts)} texts can be"
      " kept; two splits need two"
    )
  ranked = sorted(texts, key=lambda text: draw(0, text))
  held = max(1, round(_TEST * len(ranked)))
  splits = {"train": ranked[held:], "test": ranked[:held]}
  counts = {}
  for split, own in splits.items():
    rows = [row for text in own for row in kept[text]]
    _write(Path(os.path.expanduser(source)), home / split, rows)
    counts[split] = len(rows)
  return Outcome(counts, tuple(skipped))


def _matched(row: _Candidate, pairs: Sequence[str]) -> tuple[list[str], str]:
  """The mask of each pair, by attributes and noun; and why there are none."""
  if not pairs:
    return [], "its text says no thing with an attribute"
  if len(pairs) > MOST:
    return [], f"its text says more than {MOST} things"
  rest = list(row["things"])
  masks = []
  for text in pairs:
    own = next((thing for thing in rest if thing["text"] == text), None)
    if own is None:
      return [], f"it does not show {text}"
    rest.remove(own)
    masks.append(own["mask"])
  return masks, ""


def _write(
  source: Path, folder: Path, rows: Sequence[tuple[_Candidate, list[str]]]
) -> None:
  """Copies images and masks, and writes the table, which is last."""
  lines: list[_Line] = []
  for i, (row, masks) in enumerate(rows):
    names = list(
      _copied(source, folder, f"{i:06d}", [row["file_name"], *masks])
    )
    lines.append(
      {"file_name": names[0], "text": row["text"], "masks": names[1:]}
    )
  with replacing(folder / _TABLE) as file:
    file.write("".join(f"{json.dumps(line)}\n" for line in lines))


def _copied(
  source: Path, folder: Path, stem: str, names: Sequence[str]
) -> Iterator[str]:
  """Copies an image and its masks; gives their new names."""
  for j, name in enumerate(names):
    path = source / name
    if not path.is_file() or not files.is_image(str(path)):
      raise UserError(f"{path} is no image file")
    new = f"{stem}{f'-{j - 1}' if j else ''}{path.suffix.lower()}"
    with path.open("rb") as given, replacing(folder / new, "wb") as file:
      shutil.copyfileobj(given, file)
    yield new
