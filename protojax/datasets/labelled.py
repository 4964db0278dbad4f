"""Labelled images that a caller gives in Python, kept as the records of a run.

They may be a pair of arrays, a data set of PyTorch or of Hugging Face, or any
sequence of (image, label); none of these libraries is imported. `keep` writes
them as the data set "prepared", whose pixels are those that were given, so that
the run can be continued and explained without them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
import numpy as np
from PIL import Image

from protojax import json_files
from protojax.data import splits as splits_lib
from protojax.datasets import array_records, class_folders, given
from protojax.shown import shown
from protojax.types import UserError

NAME = class_folders.NAME
_VERSION = "1.0.0"
_SPLITS = ("train", "test")
_KINDS = (
  "a pair of arrays (images, labels); a data set of PyTorch or Hugging Face; a"
  ' sequence of (image, label); or {"train": ..., "test": ...} of these'
)


@dataclasses.dataclass(frozen=True)
class Part:
  """Some labelled images, read one by one.

  Attributes:
    labels: of each, as given.
    image: gives the one at a position.
    class_names: that the data set declares; None if it does not.
  """

  labels: Sequence[Any]
  image: Callable[[int], Any]
  class_names: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Labelled:
  """Images of both splits.

  Attributes:
    parts: what was given.
    class_names: index = label.
    places: split -> the part, the position in it and the class of each image.
  """

  parts: Mapping[str, Part]
  class_names: tuple[str, ...]
  places: Mapping[str, tuple[tuple[str, int, int], ...]]


def read(
  data: Any,
  class_names: Sequence[str] | None = None,
  test_fraction: float = 0.4,
  seed: int = 0,
) -> Labelled:
  """Reads the labels of what a caller gives, and draws the splits.

  Args:
    data: labelled images, or a mapping with "train" and "test" of them. Without
      a mapping, or "test" in it, a share of each class is drawn to test on.
    class_names: index = label; None: as the data set declares them, or the
      labels themselves.
    test_fraction: that share.
    seed: draws it.

  Raises:
    UserError: it is nothing of this kind, or the labels are not as expected.
  """
  parts = {"train": data}
  if isinstance(data, Mapping):
    if "train" not in data:
      raise UserError(
        f"found the splits {shown(list(data))}; expected train and test"
      )
    parts = {split: data[split] for split in _SPLITS if split in data}
  read_parts = {split: _part(given_) for split, given_ in parts.items()}
  declared = class_names or read_parts["train"].class_names
  names = _names(read_parts, declared)
  numbers = {
    split: _numbers(part, names, split) for split, part in read_parts.items()
  }
  _require_classes(numbers["train"], names, len(parts) == 1)
  places = {
    split: tuple((split, i, k) for i, k in enumerate(found))
    for split, found in numbers.items()
  }
  if "test" not in places:
    places = _drawn(places["train"], test_fraction, seed)
  return Labelled(read_parts, names, places)


def keep(data: Labelled, folder: Path) -> None:
  """Writes the images to a folder, or compares them with those it holds.

  Raises:
    UserError: an image is none, such as floats; there is no room; or the folder
      holds others.
  """
  home = array_records.home(folder, NAME, _VERSION)
  digest = hashlib.sha256()
  if home.is_dir():
    for _ in _examples(data, digest):
      pass
    kept = json_files.read_json(
      home / "metadata.json", dict[str, Any], "take another workdir"
    )
    if kept.get("digest") != digest.hexdigest():
      raise UserError(
        f"{folder} holds other images than those given now: take another"
        " workdir, or give the same"
      )
    return
  import tensorflow_datasets as tfds

  content = array_records.Content(
    name=NAME,
    version=_VERSION,
    description="Images that were given in Python.",
    features={
      "image": tfds.features.Image(shape=(None, None, None)),
      "label": tfds.features.ClassLabel(names=list(data.class_names)),
      "name": tfds.features.Text(),
    },
    splits=_SPLITS,
    examples=_examples(data, digest),
    metadata=lambda: {"digest": digest.hexdigest()},
  )
  array_records.write(str(folder), content)


def _examples(data: Labelled, digest: Any) -> Iterator[tuple[str, dict]]:
  digest.update(repr(data.class_names).encode())
  for split in _SPLITS:
    for part, i, label in data.places[split]:
      pixels = _pixels(data.parts[part].image(i), f"{part} image {i}")
      name = f"{part}-{i:06d}"
      digest.update(repr((split, name, label, pixels.shape)).encode())
      digest.update(pixels.tobytes())
      file = io.BytesIO()
      Image.fromarray(pixels).save(file, "PNG", compress_level=1)
      yield split, {"image": file.getvalue(), "label": label, "name": name}


def _pixels(image: Any, name: str) -> UInt8[np.ndarray, "H W 3"]:
  try:
    return given.pixels(image)
  except UserError as error:
    raise UserError(f"{name}: {error}") from error


def _part(data: Any) -> Part:
  """Labelled images of any kind.

  Raises:
    UserError: it is of none.
  """
  if isinstance(getattr(data, "features", None), Mapping):
    return _of_columns(data)
  if _is_pair(data):
    images, labels = data
    if len(images) != len(labels):
      raise UserError(f"found {len(images)} images and {len(labels)} labels")
    if np.ndim(labels) > 1:
      shape = "x".join(map(str, np.shape(labels)))
      raise UserError(
        f"found labels of shape {shape}; expected one for each image, such as"
        " labels.argmax(1)"
      )
    return Part(list(labels), lambda i: images[i])
  # PyTorch's iterate without an end: they are read by index.
  if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
    raise UserError(f"found {type(data).__name__}; expected {_KINDS}")
  names = getattr(data, "classes", None)
  return Part(
    [_row(data[i], i)[1] for i in range(len(data))],
    lambda i: _row(data[i], i)[0],
    tuple(map(str, names)) if names is not None else None,
  )


def _is_pair(data: Any) -> bool:
  """Whether it is (images, labels), and no sequence of two rows."""
  if not isinstance(data, tuple | list) or len(data) != 2:
    return False
  labels = data[1]
  if hasattr(labels, "shape"):
    return True
  rows = isinstance(labels, tuple | list)
  return rows and all(isinstance(x, int | str | np.integer) for x in labels)


def _row(row: Any, i: int) -> tuple[Any, Any]:
  if isinstance(row, Mapping) and {"image", "label"} <= set(row):
    return row["image"], row["label"]
  if isinstance(row, tuple | list) and len(row) == 2:
    return row[0], row[1]
  raise UserError(
    f"found {type(row).__name__} at position {i}; expected (image, label)"
  )


def _of_columns(data: Any) -> Part:
  """A data set of Hugging Face, by the kinds of its features."""
  kinds = {name: type(f).__name__ for name, f in data.features.items()}

  def only(kind: str, usual: str) -> str:
    found = [name for name, of in kinds.items() if of == kind]
    if usual in kinds and len(found) != 1:
      return usual
    if len(found) != 1:
      raise UserError(
        f"found the columns {shown(kinds)}; expected one {kind}: rename it to"
        f" {usual!r}, or select columns"
      )
    return found[0]

  image, label = only("Image", "image"), only("ClassLabel", "label")
  names = getattr(data.features[label], "names", None)
  return Part(
    list(data[label]),
    lambda i: data[i][image],
    tuple(map(str, names)) if names is not None else None,
  )


def _names(
  parts: Mapping[str, Part], declared: Sequence[str] | None
) -> tuple[str, ...]:
  """The classes: those declared, or the labels themselves."""
  if declared is not None:
    names = tuple(map(str, declared))
    if twice := {name for name in names if names.count(name) > 1}:
      raise UserError(f"the class {min(twice)!r} is named twice")
    return names
  labels = [_plain(x) for part in parts.values() for x in part.labels]
  if all(isinstance(x, str) for x in labels):
    return tuple(sorted(set(labels)))
  numbers = [x for x in labels if isinstance(x, int)]
  return tuple(str(k) for k in range(max(numbers, default=-1) + 1))


def _numbers(part: Part, names: tuple[str, ...], split: str) -> list[int]:
  """The class of each image.

  Raises:
    UserError: a label is none of the classes.
  """
  known = {name: k for k, name in enumerate(names)}
  found = []
  for i, label in enumerate(map(_plain, part.labels)):
    number = known.get(label) if isinstance(label, str) else label
    if not isinstance(number, int) or not 0 <= number < len(names):
      known_ones = f"to {len(names) - 1}, or one of {shown(list(names))}"
      raise UserError(
        f"{split} image {i} has the label {shown(label)}; expected a whole"
        f" number from 0 {known_ones if names else 'on, or a name'}"
      )
    found.append(number)
  if not found:
    raise UserError(f"no {split} image: expected some of each class")
  return found


def _plain(label: Any) -> Any:
  """A label of NumPy or a tensor as Python has it."""
  if np.ndim(label) == 0 and hasattr(label, "item"):
    label = label.item()
  return int(label) if isinstance(label, bool) else label


def _require_classes(
  labels: Sequence[int], names: tuple[str, ...], drawn: bool
) -> None:
  """Requires two classes, and of each an image, or two to draw from."""
  if len(names) < 2:
    raise UserError(
      f"found {len(names)} class{'es' * (len(names) != 1)}; expected two or"
      " more"
    )
  needed = 1 + drawn
  counts = np.bincount(labels, minlength=len(names))
  if (few := int(np.argmin(counts >= needed))) or counts[0] < needed:
    raise UserError(
      f"class {names[few]!r} has {counts[few]} images; expected {needed} or"
      f" more{', one of them to test on' if drawn else ' to train on'}"
    )


def _drawn(
  places: Sequence[tuple[str, int, int]], fraction: float, seed: int
) -> dict[str, tuple[tuple[str, int, int], ...]]:
  """Training and test images, drawn from every class."""
  held: set[int] = set()
  for label in {k for _, _, k in places}:
    members = [i for _, i, k in places if k == label]
    drawn = splits_lib.held_out([str(i) for i in members], fraction, seed)
    held |= {members[n] for n in drawn}
  return {
    "train": tuple(p for p in places if p[1] not in held),
    "test": tuple(p for p in places if p[1] in held),
  }
