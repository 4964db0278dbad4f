"""Images with their segments: PNGs of numbers and a JSON, as COCO-panoptic has.

  root/train/images/a.jpg, root/train/panoptic/a.png, root/train/panoptic.json
  root/train2017/a.jpg, root/annotations/panoptic_train2017/a.png and
    root/annotations/panoptic_train2017.json

The number of a pixel's segment is red + 256 green + 65,536 blue, 0 for void.
The JSON lists "categories" (id, name and isthing), "images" (id and file_name)
and "annotations" (image_id, file_name and segments_info: id, category_id and
iscrowd). A crowd is not learned; where it lies, nothing found is wrong.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import os
from typing import Any, NamedTuple, NotRequired, TypedDict

from jaxtyping import Int
import numpy as np

from protojax import json_files, text_files
from protojax.data import images as images_lib
from protojax.data.fields import Classes, Field, Instances, Pixels
from protojax.data.source import printable
from protojax.datasets import image_check, mask_coding
from protojax.types import UserError

# What is declared of a data set; see `protojax.datasets`. 64: of a plan.
FOLDERS = True
FIELDS: Mapping[str, Field] = {
  "image": Pixels(),
  "crowd": Classes(),
  "segments": Instances(64),
}

_NONE = 255  # no crowd
# panoptic_train2017.json has 393 MB.
_MOST_BYTES = 1 << 30


class _Category(TypedDict):
  id: int
  name: str
  isthing: int | bool


class _Image(TypedDict):
  id: int | str
  file_name: str


class _Info(TypedDict):
  id: int
  category_id: int
  iscrowd: NotRequired[int | bool]


class _Annotation(TypedDict):
  image_id: int | str
  file_name: str
  segments_info: list[_Info]


class _Content(TypedDict):
  categories: list[_Category]
  images: list[_Image]
  annotations: list[_Annotation]


class Segment(NamedTuple):
  """A segment of a PNG."""

  number: int
  label: int
  crowd: bool


class Row(NamedTuple):
  """Paths of an image and its PNG, relative to the root, and its segments."""

  image: str
  png: str
  segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class PanopticFiles:
  """A source of images with segments; see `source.Source`.

  Attributes:
    root: the folder that paths are relative to.
    rows: of the readable images.
    class_names: index = class of a segment.
    things: which classes are objects.
    skipped: (name, reason) of each image that is left out.
  """

  root: str
  rows: tuple[Row, ...]
  class_names: tuple[str, ...]
  things: tuple[bool, ...]
  skipped: tuple[tuple[str, str], ...]

  @functools.cached_property
  def fields(self) -> Mapping[str, Field]:
    """As many segments as the fullest image has."""
    most = max(len(row.segments) for row in self.rows)
    return {**FIELDS, "segments": Instances(max(most, 1))}

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, i: int) -> dict:
    row = self.rows[i]
    try:
      image = images_lib.decode(os.path.join(self.root, row.image))
      plane = numbers(os.path.join(self.root, row.png))
    except ValueError as error:
      raise UserError(
        f"{self.name(i)} and its segments could be read when the data were"
        f" opened and cannot be now: {error}"
      ) from error
    objects = [s for s in row.segments if not s.crowd]
    masks = plane[None] == np.array([s.number for s in objects])[:, None, None]
    crowd = np.full(plane.shape, _NONE, np.int32)
    for segment in row.segments:
      if segment.crowd:
        crowd[plane == segment.number] = segment.label
    return {
      "image": image,
      "crowd": crowd,
      "segments": {
        "masks": masks.reshape(-1, *plane.shape),
        "classes": np.array([s.label for s in objects], np.int32),
      },
      "name": self.name(i),
    }

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each: an image is of no single class."""
    return np.full(len(self.rows), -1, np.int32)

  def name(self, i: int) -> str:
    """The path relative to `root`, as text that can be printed."""
    return printable(self.rows[i].image)


def numbers(path: str) -> Int[np.ndarray, "H W"]:
  """The number of the segment of each pixel of a PNG.

  Raises:
    ValueError: the file cannot be read.
  """
  colours = images_lib.decode(path).astype(np.int32)
  return colours[..., 0] + (colours[..., 1] << 8) + (colours[..., 2] << 16)


def load(data: Any, split: str, seed: int) -> PanopticFiles:
  """Opens the training or test split of `data.root`.

  Args:
    data: `root`, and `train` and `test`, the names of the splits.
    split: "train" or "test".
    seed: changes nothing.

  Raises:
    UserError: the folder does not hold what is described here.
  """
  del seed
  root, name = os.path.expanduser(data.root), data[split]
  layouts = (
    (f"{name}/images", f"{name}/panoptic"),
    (name, f"annotations/panoptic_{name}"),
  )
  for images, pngs in layouts:
    if os.path.isfile(os.path.join(root, f"{pngs}.json")):
      return _opened(root, images, pngs)
  tried = ", ".join(f"{pngs}.json beside {images}" for images, pngs in layouts)
  raise UserError(
    f"{root} has none of {tried}: name the folders of the splits with"
    " --config.data.train and --config.data.test"
  )


def _opened(root: str, images: str, pngs: str) -> PanopticFiles:
  path = os.path.join(root, f"{pngs}.json")
  try:
    content = json_files.parsed(text_files.read(path, _MOST_BYTES), _Content)
    names, things, rows = _rows(content, images, pngs)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  gone = [r for r in rows if not os.path.isfile(os.path.join(root, r.png))]
  if gone:
    raise UserError(
      f"{printable(gone[0].image)} in {root} has no {printable(gone[0].png)}"
      f" ({len(gone)} of {len(rows)} images have none): add the PNGs, or take"
      f" the images out of {path}"
    )
  bad = image_check.unreadable(root, [row.image for row in rows])
  kept = tuple(row for row in rows if row.image not in bad)
  if not kept:
    first = "".join(f" ({n}: {why})" for n, why in list(bad.items())[:1])
    raise UserError(f"no readable image with segments in {root}{first}")
  of_png = {os.path.join(root, row.png): row for row in kept}
  image_check.require_right(
    root,
    [row.png for row in kept],
    functools.partial(_fault, root, of_png),
    ("panoptic", kept),
    ("", "PNGs"),
  )
  return PanopticFiles(root, kept, names, things, tuple(bad.items()))


def _rows(
  content: Mapping[str, Any], images: str, pngs: str
) -> tuple[tuple[str, ...], tuple[bool, ...], list[Row]]:
  """Class names, which are things, and the images with annotations."""
  listed = sorted(content["categories"], key=lambda c: c["id"])
  names = [c["name"] for c in listed]
  label = {c["id"]: n for n, c in enumerate(listed)}
  for what, values in (("name", names), ("id", [c["id"] for c in listed])):
    twice = next((v for v in values if values.count(v) > 1), None)
    if twice is not None:
      raise UserError(
        f"two categories have the {what} {twice!r}: give each its own"
      )
  files = {i["id"]: i["file_name"] for i in content["images"]}
  rows = []
  for found in content["annotations"]:
    if found["image_id"] not in files:
      raise UserError(
        f"an annotation is of the image {found['image_id']!r}, which is not"
        " among the images"
      )
    segments = []
    for info in found["segments_info"]:
      if info["category_id"] not in label:
        raise UserError(
          f"a segment of {found['file_name']} has the category"
          f" {info['category_id']}, which is not among the categories"
        )
      if not 0 < info["id"] < 1 << 24:
        raise UserError(
          f"a segment of {found['file_name']} has the number {info['id']};"
          " expected 1 to 16,777,215, since 0 is void"
        )
      crowd = bool(info.get("iscrowd", 0))
      segments.append(Segment(info["id"], label[info["category_id"]], crowd))
    rows.append(
      Row(
        os.path.join(images, files[found["image_id"]]),
        os.path.join(pngs, found["file_name"]),
        tuple(segments),
      )
    )
  if not rows:
    raise UserError("it has no annotations")
  return tuple(names), tuple(bool(c["isthing"]) for c in listed), rows


def _fault(root: str, of_png: Mapping[str, Row], path: str) -> str:
  """What is wrong with a PNG, '' if nothing is."""
  row = of_png[path]
  try:
    plane = numbers(path)
    image = mask_coding.size(os.path.join(root, row.image))
  except ValueError as error:
    return str(error)
  if plane.shape != image:
    return (
      f"it has {plane.shape[0]} x {plane.shape[1]} pixels and its image"
      f" {image[0]} x {image[1]}: save both at one size"
    )
  return _unknown(plane, [s.number for s in row.segments])


def _unknown(plane: Int[np.ndarray, "H W"], known: Sequence[int]) -> str:
  others = sorted(set(np.unique(plane).tolist()) - set(known) - {0})
  if not others:
    return ""
  return (
    f"it shows the segment {others[0]}, which the JSON does not list; list it,"
    " or give its pixels the colour of void, (0, 0, 0)"
  )
