"""Bags of instances in a stream of tasks, as a source.

Each task has two classes, the negative one first. The label of a bag is 2 t or
2 t + 1, where t is the number of its task.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int, Int32, UInt8
import numpy as np

from protojax.data.fields import Bag, Field, Label
from protojax.types import UserError

# What is said of an instance whose label is not known.
UNKNOWN = -1


@runtime_checkable
class Reader(Protocol):
  """Reads bags, each by its number."""

  @property
  def sizes(self) -> Int[np.ndarray, " b"]:
    """Instances of each bag."""
    ...

  @property
  def placed(self) -> bool:
    """Whether all bags have coordinates."""
    ...

  def name(self, i: int) -> str:
    """Of a bag, for reports."""
    ...

  def read(self, i: int) -> Mapping[str, np.ndarray]:
    """ "features" [n c]; "coords" [n 2] (x, y) and "labels" [n] if known."""
    ...

  def pictures(
    self, i: int, rows: Sequence[int]
  ) -> UInt8[np.ndarray, "r H W 3"] | None:
    """What some instances of a bag look like; None if that is not known."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class Bags:
  """Bags of one split; see `data.source.Source`.

  Attributes:
    reader: of the bags.
    tasks: their names, in order.
    class_names: of the labels: two of each task.
    labels: of each bag.
    channels: width of an instance's vector.
    notes: what a user should know of how they were read, in lines.
    skipped: (name, reason) of what could not be read.
    embedder: what made the vectors of pictures: a function on the device, or a
      mapping with "backbone", "weights" and "image_size"; None: not known.
  """

  reader: Reader
  tasks: tuple[str, ...]
  class_names: tuple[str, ...]
  labels: Int32[np.ndarray, " b"]
  channels: int
  notes: tuple[str, ...] = ()
  skipped: tuple[tuple[str, str], ...] = ()
  embedder: Any = None

  def __post_init__(self) -> None:
    require_tasks(self.tasks)
    empty = np.flatnonzero(self.reader.sizes < 1)
    if empty.size:
      raise UserError(
        f"the bag {self.reader.name(int(empty[0]))} has no instance; expected"
        " at least 1: remove it"
      )

  @property
  def fields(self) -> Mapping[str, Field]:
    """Vectors, places (x, y) and labels of the instances, and the label."""
    return {
      "bag": Bag(self.channels),
      "places": Bag(2),
      "truth": Bag(1),
      "label": Label(),
    }

  @property
  def placed(self) -> bool:
    """Whether the places of the instances are known; else they are 0."""
    return self.reader.placed

  def sizes(self, name: str) -> Int[np.ndarray, " b"]:
    """Instances of each bag, whatever the field."""
    del name
    return self.reader.sizes

  def __len__(self) -> int:
    return len(self.labels)

  def name(self, i: int) -> str:
    """Of a bag."""
    return self.reader.name(int(i))

  def __getitem__(self, i: int) -> dict[str, Any]:
    found = self.reader.read(int(i))
    features = np.asarray(found["features"])
    if features.ndim != 2 or features.shape[1] != self.channels:
      raise UserError(
        f"the bag {self.name(i)} has features of shape {features.shape};"
        f" expected [n {self.channels}], as the other bags have"
      )
    n = len(features)
    return {
      "bag": features.astype(np.float32),
      "places": self._column(i, found, "coords", np.zeros((n, 2)), 2),
      "truth": self._column(i, found, "labels", np.full(n, UNKNOWN), 1),
      "label": int(self.labels[i]),
      "name": self.name(i),
    }

  def _column(
    self,
    i: int,
    found: Mapping[str, np.ndarray],
    name: str,
    otherwise: np.ndarray,
    width: int,
  ) -> Float[np.ndarray, "n w"]:
    n = len(otherwise)
    column = np.asarray(found.get(name, otherwise))
    if column.size != n * width:
      raise UserError(
        f"the bag {self.name(i)} has {name!r} of shape {column.shape};"
        f" expected {width} for each of its {n:,} instances"
      )
    return column.reshape(n, width).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Missing:
  """Reads nothing: stands for bags that are not there, to plan a run.

  Attributes:
    count: of the bags; each is taken to have a thousand instances.
  """

  count: int
  placed: bool = True

  @property
  def sizes(self) -> Int[np.ndarray, " b"]:
    """Instances of each bag, as a plan takes them."""
    return np.full(self.count, 1000)

  def name(self, i: int) -> str:
    """A number."""
    return f"bag {i}"

  def read(self, i: int) -> Mapping[str, np.ndarray]:
    """Raises: nothing can be read."""
    raise LookupError(f"bag {i} stands for one that is not there")

  def pictures(self, i: int, rows: Sequence[int]) -> None:
    """None: they are not known."""
    del i, rows


def missing(count: int, classes: int, channels: int) -> Bags:
  """Bags that are not there: so many of so many classes, in pairs."""
  tasks = tuple(f"task {t}" for t in range(max(classes // 2, 1)))
  names = dict.fromkeys(tasks, ("negative", "positive"))
  labels = np.arange(count, dtype=np.int32) % (2 * len(tasks))
  return Bags(
    Missing(count), tasks, class_names(tasks, names), labels, channels
  )


def require_tasks(tasks: Sequence[str]) -> None:
  """Refuses a stream that has a task twice, or none.

  Raises:
    UserError: names the task.
  """
  if not tasks:
    raise UserError("there is no task: --config.data.tasks names none")
  twice = [task for task in tasks if list(tasks).count(task) > 1]
  if twice:
    raise UserError(
      f"--config.data.tasks has the task {twice[0]!r} twice; each task, and"
      " with it its classes, comes once"
    )


def class_names(
  tasks: Sequence[str], classes: Mapping[str, tuple[str, str]]
) -> tuple[str, ...]:
  """Names of the labels: the two classes of each task, the negative first."""
  return tuple(f"{task}: {name}" for task in tasks for name in classes[task])
