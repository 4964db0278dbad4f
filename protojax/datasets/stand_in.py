"""Counts that stand for images which are not there, to plan a run.

They are those of the authors, where a data set's module declares `PUBLISHED`.
"""

from collections.abc import Callable, Mapping
import dataclasses
import importlib
from typing import Any

from jaxtyping import Bool, Int32
import numpy as np

from protojax import datasets
from protojax.data.fields import Field, Labels, Pixels
from protojax.data.places import Places
from protojax.data.source import Source


@dataclasses.dataclass(frozen=True)
class Counts:
  """What is taken for true of images that are not there.

  Attributes:
    classes: their number.
    images: training images, before some are held out.
    origin: where the numbers are from, in words.
  """

  classes: int
  images: int
  origin: str


_UNKNOWN = Counts(10, 1000, "assumed")


@dataclasses.dataclass(frozen=True, eq=False)
class StandIn:
  """A source of so many images; none can be read.

  Attributes:
    class_names: by number.
    labels: the classes in turn.
    concepts: True for the concepts of each image, also in turn.
    concept_names: by number; those of the classes without other ones.
  """

  class_names: tuple[str, ...]
  labels: Int32[np.ndarray, "n"]
  concepts: Bool[np.ndarray, "n c"]
  concept_names: tuple[str, ...]
  skipped: tuple[tuple[str, str], ...] = ()

  def __len__(self) -> int:
    return len(self.labels)

  def __getitem__(self, i: int) -> dict:
    raise LookupError(f"image {i} stands for one that is not there")

  def name(self, i: int) -> str:
    """A number."""
    return f"image {i}"

  def places(self, i: int) -> Places:
    """Raises: an image that is not there shows nothing anywhere."""
    raise LookupError(f"image {i} stands for one that is not there")


@dataclasses.dataclass(frozen=True, eq=False)
class OtherStandIn(StandIn):
  """The same of examples with other fields than an image and a label.

  Attributes:
    fields: by name.
  """

  fields: Mapping[str, Field] = dataclasses.field(default_factory=dict)

  @property
  def groups(self) -> Int32[np.ndarray, "n"]:
    """The classes in turn, too."""
    return self.labels


def counts(data: Any, classes: int = 0, images: int = 0) -> Counts:
  """What to take for true of a config's data set.

  Args:
    data: of the config. Its key "task", if there is one, names the classes.
    classes, images: as the user says; 0 takes what the authors published, or
      else a guess.
  """
  found, origin = _UNKNOWN, _UNKNOWN.origin
  if known := _published(data.name):
    found = Counts(known["classes"], known["train"], "")
    origin = "as published"
  if data.get("task"):
    found = dataclasses.replace(found, classes=len(data.task))
  if classes or images:
    origin = "as you say" if classes and images else f"{origin}, or as you say"
  return Counts(classes or found.classes, images or found.images, origin)


def maker(data: Any, counts: Counts) -> Callable[[str], Source]:
  """Function from a split to the stand-in for its images."""
  held = data.get("validation_fraction", 0) or data.get(
    "calibration_fraction", 0
  )

  def make(split: str) -> Source:
    share = {"train": 1 - held, "validation": held}
    # With none held out, the training images are calibrated on.
    share["calibration"] = held or 1
    count = max(1, round(share.get(split, 1) * counts.images))
    classes = tuple(f"class {k}" for k in range(counts.classes))
    concepts = tuple(data.get("concepts", ())) or classes
    turn = np.arange(count, dtype=np.int32)
    shown = (turn % len(concepts))[:, None] == np.arange(len(concepts))
    given = classes, turn % len(classes), shown, concepts
    fields = _fields(data.name, len(classes))
    return OtherStandIn(*given, fields=fields) if fields else StandIn(*given)

  return make


def _fields(name: str, classes: int) -> Mapping[str, Field]:
  """The fields of a data set; none if they are an image and a label."""
  module = datasets.find(name)
  if getattr(module, "SEVERAL", False):
    return {"image": Pixels(), "labels": Labels(classes)}
  return getattr(module, "FIELDS", {})


def _published(name: str) -> Mapping[str, int] | None:
  """What the authors count of the data set that a config calls so."""
  for module in datasets.names("PUBLISHED"):
    found = importlib.import_module(f"{datasets.__name__}.{module}")
    if name in (module, getattr(found, "WRITES", "")):
      return found.PUBLISHED
  return None
