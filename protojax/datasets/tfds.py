"""Opens prepared TFDS data sets as sources, by index, without TensorFlow."""

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import operator
import os
from pathlib import Path
import re
from typing import Any

from jaxtyping import Float, Int32
import numpy as np

from protojax import datasets, parallel, typed
from protojax.data import images as images_lib
from protojax.data.places import Places
from protojax.datasets import box_shares, record_folder
from protojax.types import UserError
from protojax.writing import first_line, replacing

# What is declared of a data set; see `protojax.datasets`.
BOXED = True
FALLBACK = True

_CONVERTED = "array_record"


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
  """A source of TFDS records; see `source.Source`.

  Attributes:
    title: of the data set, for messages and names.
    records: {"image": encoded bytes, "label": int, ...} by index.
    labels: class of each; -1 is unknown.
    class_names: index = label.
    named: the feature that holds the name of an image; '' if there is none.
    boxed: path of the feature of boxes, as ("objects", "bbox"); () for none.
    crop: whether images are cut to their boxes.
    parted: whether records hold "parts", as `cub200` writes them.
  """

  title: str
  records: Any
  labels: Int32[np.ndarray, "n"]
  class_names: tuple[str, ...]
  named: str
  boxed: tuple[str, ...] = ()
  crop: bool = False
  parted: bool = False
  skipped: tuple[tuple[str, str], ...] = ()

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, i: int) -> dict:
    record = self.records[int(i)]
    try:
      image = images_lib.decode(record["image"])
    except ValueError as e:
      raise UserError(
        f"record {i} of {self.title} holds a broken image ({e}); prepare the"
        " data set again"
      ) from e
    name = self._name(i, record)
    if self.crop:
      image = box_shares.cut(image, self._boxes(record))
    return {"image": image, "label": int(self.labels[i]), "name": name}

  def name(self, i: int) -> str:
    """The name in the record; else the data set and the number."""
    return self._name(i, self.records[int(i)] if self.named else {})

  def places(self, i: int) -> Places | None:
    """Boxes as in `objects.Boxed`; None if images are cut to them."""
    if self.crop or not self.boxed:
      return None
    found = self._boxes(self.records[int(i)])
    return Places(np.zeros(len(found), np.int64), found)

  def parts(self, i: int) -> Float[np.ndarray, "r 3"] | None:
    """Parts as in `objects.Parted`, in shares of the cropped image."""
    if not self.parted:
      return None
    record = self.records[int(i)]
    height, width, _ = images_lib.decode(record["image"]).shape
    found = self._boxes(record)[: None if self.crop else 0]
    top, left, bottom, right = box_shares.largest(found, height, width)
    x, y, seen = np.asarray(record["parts"], np.float32).T
    row, column = (y - top) / (bottom - top), (x - left) / (right - left)
    return np.stack([row, column, seen], axis=1)

  def _boxes(self, record: dict) -> Float[np.ndarray, "n 4"]:
    found: Any = functools.reduce(operator.getitem, self.boxed, record)
    return np.reshape(found, (-1, 4))

  def _name(self, i: int, record: dict) -> str:
    if self.named:
      return record[self.named].decode("utf-8", "backslashreplace")
    return f"{self.title}-{int(i):06d}"


def load(data: Any, split: str, seed: int) -> Records:
  """Opens the training or test split that a config names."""
  del seed
  return opened(data.name, data.root, data[split], data.crop)


def opened(name: str, root: str, split: str, crop: bool = False) -> Records:
  """Opens a split of a data set that TFDS knows or that lies in `root`.

  Args:
    name: for `tfds.builder`, such as "mnist" or "imagenet2012:5.1.0".
    root: TFDS's data_dir; '' is its default.
    split: for TFDS, such as "train[:80%]".
    crop: cut images to their bounding boxes.

  Raises:
    UserError: there is no such data set or split; or it is not prepared as
      ArrayRecord, lacks image or label, or has no boxes to crop to.
  """
  return open_split(_builder(name, root), split, crop)


def open_split(builder: Any, split: str, crop: bool = False) -> Records:
  """Opens a split of a TFDS builder.

  Args and errors are those of `opened`.
  """
  import tensorflow_datasets as tfds

  title = builder.info.full_name
  _require_prepared(builder)
  _require_features(builder)
  decoders = {n: tfds.decode.SkipDecoding() for n in _left_encoded(builder)}
  try:
    count = builder.info.splits[split].num_examples
  except (KeyError, ValueError) as e:
    names = ", ".join(builder.info.splits)
    raise UserError(
      f"{title} has no split {split!r}; it has {names} (and slices such as"
      " 'train[:80%]')"
    ) from e
  if not count:
    raise UserError(f"split {split!r} of {title} holds no image")
  named, boxed = _named(builder), _boxed(builder, crop)
  needed = {"image": bytes, "label": (int, np.integer)}
  needed |= {named: bytes} if named else {}
  records = record_folder.Checked(builder, split, decoders, needed)
  return Records(
    title=f"{builder.info.name}-{split}",
    records=records,
    labels=_labels(builder, split, records),
    class_names=tuple(builder.info.features["label"].names),
    named=named,
    boxed=boxed,
    crop=crop,
    parted=_parted(builder),
  )


def _builder(name: str, root: str) -> Any:
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.utils import file_utils

  root = os.path.expanduser(root)
  if root and not os.path.isdir(root):
    raise UserError(
      f"no folder {root}: --config.data.root takes the data_dir of TFDS"
    )
  for place in [root] if root else file_utils.list_data_dirs():
    # "name/configuration:version"; others have no folder.
    if found := re.match(r"\w+", name):
      record_folder.require_safe_below(Path(place) / found[0])
  try:
    return tfds.builder(name, data_dir=root or None)
  except tfds.core.DatasetNotFoundError as e:
    for command, module in datasets.preparers().items():
      if name == module.WRITES:
        raise UserError(
          f"no data set {name!r} in {root or 'the default folder of TFDS'}:"
          f" make it with {typed.command('prepare')} {command} --source=PATH"
          " --output=DIR, and give --config.data.root=DIR"
        ) from e
    ours = datasets.names()
    known = tfds.list_builders(with_community_datasets=False)
    near = difflib.get_close_matches(name, (*ours, *known), 3)
    hint = f"; near: {', '.join(near)}" if near else ""
    raise UserError(
      f"no data set {name!r} in TFDS nor in {root or 'its default folder'}"
      f"{hint}. protojax has {', '.join(ours)}; for images of your own use"
      " --config.data.name=folder"
    ) from e
  # What its parsers raise, and the code of its data sets.
  except Exception as e:
    raise UserError(
      f"TFDS cannot open {name!r} in {root or 'its default folder'}:"
      f" {type(e).__name__}: {first_line(e)}"
    ) from e


def _require_prepared(builder: Any) -> None:
  from tensorflow_datasets.core import file_adapters

  title, info = builder.info.full_name, builder.info
  if not builder.is_prepared() or not info.splits:
    root = str(builder.data_path.parents[title.count("/")])
    raise UserError(
      f"{title} is not prepared in {root}. Prepare it once: python -c"
      f' "import tensorflow_datasets as t; t.builder({info.name!r},'
      f" data_dir={root!r}, file_format='{_CONVERTED}')"
      '.download_and_prepare()"'
    )
  formats = {info.file_format, *info.alternative_file_formats}
  readable = {
    file_adapters.FileFormat.ARRAY_RECORD,
    file_adapters.FileFormat.PARQUET,
  }
  if not formats & readable:
    found = ", ".join(f.value for f in formats if f)
    raise UserError(
      f"{title} is prepared as {found}, which cannot be read by index. Convert"
      " it where TensorFlow is installed: tfds convert_format"
      f" --dataset_version_dir={builder.data_dir}"
      f" --out_file_format={_CONVERTED}"
    )


def _require_features(builder: Any) -> None:
  """Requires a label and an image of 8 or 16 bits."""
  import tensorflow_datasets as tfds

  features = builder.info.features
  kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
  nested = isinstance(features, tfds.features.FeaturesDict)
  found: dict[str, Any] = dict(features) if nested else {}
  fits = all(isinstance(found.get(n), kind) for n, kind in kinds.items())
  if not fits:
    typed = [f"{n} ({type(f).__name__})" for n, f in sorted(found.items())]
    described = ", ".join(typed) or " ".join(str(features).split())
    raise UserError(
      f"{builder.info.full_name} has the features {described:.300};"
      " needed are image (Image) and label (ClassLabel)"
    )
  if found["image"].np_dtype not in (np.uint8, np.uint16):
    raise UserError(
      f"the images of {builder.info.full_name} are"
      f" {np.dtype(found['image'].np_dtype).name}; needed is uint8 or uint16"
    )


def _named(builder: Any) -> str:
  """The feature that holds the name of an image, '' if none does."""
  import tensorflow_datasets as tfds

  features = builder.info.features
  candidates = [n for n in ("name", "image/filename") if n in features]
  texts = [n for n in candidates if isinstance(features[n], tfds.features.Text)]
  return texts[0] if texts else ""


def _boxed(builder: Any, required: bool) -> tuple[str, ...]:
  """Path of the feature of boxes: one an image, or one an object."""
  import tensorflow_datasets as tfds

  features = dict(builder.info.features)
  objects = getattr(features.get("objects"), "feature", None)  # of a sequence
  nested = isinstance(objects, tfds.features.FeaturesDict)
  candidates = {
    ("bbox",): features.get("bbox"),
    ("objects", "bbox"): dict(objects).get("bbox") if nested else None,
  }
  for place, feature in candidates.items():
    if isinstance(feature, tfds.features.BBoxFeature):
      return place
  if not required:
    return ()
  raise UserError(
    f"{builder.info.full_name} has no bounding boxes (a feature bbox or"
    " objects/bbox): set --config.data.crop=False"
  )


def _parted(builder: Any) -> bool:
  """True if each image has a table of parts [r, 3]: x, y, 1 if seen."""
  feature = dict(builder.info.features).get("parts")
  return feature is not None and tuple(feature.shape[1:]) == (3,)


def _left_encoded(builder: Any) -> list[str]:
  """Features that are images: TFDS decodes none of them."""
  import tensorflow_datasets as tfds

  features = dict(builder.info.features)
  return [n for n, f in features.items() if isinstance(f, tfds.features.Image)]


def _labels(builder: Any, split: str, records: Any) -> Int32[np.ndarray, "n"]:
  """Labels of all records, from a cache: else every record has to be read."""
  facts = Path(builder.data_dir) / "dataset_info.json"
  key = (str(facts.resolve()), facts.stat().st_mtime_ns, split)
  key = hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest()
  cache = parallel.cache_dir() / "labels" / f"{key}.npy"
  known = range(-1, builder.info.features["label"].num_classes)
  try:
    labels = np.load(cache)
    fits = labels.shape == (len(records),) and labels.dtype == np.int32
    if fits and all(label in known for label in np.unique(labels)):
      return labels
  except (OSError, ValueError, EOFError):
    pass  # the cache is not there yet, or is damaged
  found = [int(record["label"]) for record in records]
  if strange := next((label for label in found if label not in known), None):
    raise UserError(
      f"{builder.data_path} has an image of class {strange}, and"
      f" {len(known) - 1} classes: prepare the data set again"
    )
  labels = np.array(found, np.int32)
  # Without the cache, only time is lost.
  with contextlib.suppress(UserError), replacing(cache, "wb") as file:
    np.save(file, labels)
  return labels
