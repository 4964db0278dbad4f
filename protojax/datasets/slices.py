"""Slices of volumes as a source of images with a class for each pixel.

A module for each layout lists the volumes as `Study`; `opened` checks them and
makes the source. A slice is seen as on a light box: the front or the head is
up, and the patient's right is on the left. Grey values come from a window of
intensities. Splits keep a volume whole. Where there is one volume only, they
keep blocks of its slices, with a gap between them.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import logging
from typing import Any, NamedTuple

from jaxtyping import Int32, Integer, Shaped, UInt8
import numpy as np

from protojax import ranges
from protojax.data import splits as splits_lib
from protojax.data.fields import Classes, Field, Group, Pixels
from protojax.datasets.volume_file import AXES, Volume
from protojax.types import UserError

VOID = 255  # of pixels whose class is not known
_IMAGE: Mapping[str, Field] = {"image": Pixels(), "volume": Group()}
FIELDS: Mapping[str, Field] = {**_IMAGE, "mask": Classes(VOID)}

# Slices of a block of a single volume, and of the gap between two.
BLOCK, GAP = 9, 6
# Without a window: these percentiles of the voxels that are not the lowest.
_LOW, _HIGH = 0.5, 99.5
_KEPT = 64  # volumes in memory
_LOG = logging.getLogger(__name__)
_WINDOW = ranges.Range(-1e6, 1e6)


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
  """A volume, and the classes of its voxels if they are known.

  Attributes:
    name: for reports.
    read: gives the volume.
    read_classes: gives the class of each voxel; `VOID` is unknown. None: no
      class is known.
    shape: voxels on each axis of the volume.
    path: of the volume's file; '' if it has none.
  """

  name: str
  read: Callable[[], Volume]
  read_classes: Callable[[], Integer[np.ndarray, "x y z"]] | None
  shape: tuple[int, ...]
  path: str = ""


class Place(NamedTuple):
  """Where a slice is from: the number of its study, and its own."""

  study: int
  number: int


@dataclasses.dataclass(frozen=True, eq=False)
class Slices:
  """A source of slices; see `source.Source`.

  Attributes:
    studies: the volumes.
    places: of each slice.
    groups: the volume of each slice, or its block of a single one.
    class_names: index = value of a mask.
    axis: number of the axis that slices are counted on.
    window: lowest and highest intensity; (): by percentiles of each volume.
    note: what is to be said of the splits; may be empty.
    skipped: none; what cannot be read is refused.
  """

  studies: tuple[Study, ...]
  places: tuple[Place, ...]
  groups: Int32[np.ndarray, " n"]
  class_names: tuple[str, ...]
  axis: int
  window: tuple[float, ...] = ()
  note: str = ""
  skipped: tuple[tuple[str, str], ...] = ()

  def __post_init__(self) -> None:
    # For each source its own, so that volumes go when it goes.
    read = functools.lru_cache(_KEPT)(self._read)
    object.__setattr__(self, "_volume", read)

  @property
  def fields(self) -> Mapping[str, Field]:
    """Without "mask" if a volume has no known classes."""
    known = all(study.read_classes for study in self.studies)
    return FIELDS if known else _IMAGE

  @property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """-1 for each: a slice is of no single class."""
    return np.full(len(self.places), -1, np.int32)

  def __len__(self) -> int:
    return len(self.places)

  def __getitem__(self, i: int) -> dict:
    place = self.places[i]
    grey, classes, _ = self._volume(place.study)
    plane = seen(grey, self.axis, place.number)
    found = {"image": np.repeat(plane[..., None], 3, axis=-1)}
    if classes is not None:
      found["mask"] = seen(classes, self.axis, place.number).astype(np.int32)
    return {**found, "name": self.name(i)}

  def name(self, i: int) -> str:
    """Volume and number of the slice."""
    study, number = self.places[i]
    return f"{self.studies[study].name}-{AXES[self.axis]}-{number:03d}"

  def spacing(self, study: int) -> tuple[float, float, float]:
    """Sides of a voxel of a volume in millimetres."""
    return self._volume(study)[2]

  def classes(self, study: int) -> Integer[np.ndarray, "x y z"] | None:
    """The classes of the voxels of a volume; None if they are not known."""
    return self._volume(study)[1]

  def _read(self, study: int) -> tuple[np.ndarray, Any, Any]:
    """Grey values, classes and spacing of a volume."""
    found = self.studies[study]
    volume, classes = found.read(), None
    if found.read_classes is not None:
      classes = found.read_classes()
    return windowed(volume.values, self.window), classes, volume.spacing


def windowed(
  values: Shaped[np.ndarray, "x y z"], window: Sequence[float]
) -> UInt8[np.ndarray, "x y z"]:
  """Intensities of a window as grey values 0..255; others are cut off.

  Args:
    values: of a volume.
    window: lowest and highest; (): the 0.5th and 99.5th percentile of the
      voxels above the lowest value, most of which is air.
  """
  values = np.asarray(values, np.float32)
  if len(window):
    low, high = window
  else:
    inside = values[values > values.min()]
    inside = inside if inside.size else values
    low, high = np.percentile(inside, (_LOW, _HIGH))
  share = (values - low) / max(float(high - low), 1e-12)
  return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def seen(
  voxels: Shaped[np.ndarray, "x y z"], axis: int, number: int
) -> Shaped[np.ndarray, "H W"]:
  """A slice as a picture: up is up or front, the patient's right is left.

  Sagittal slices have the front on the left.
  """
  plane = np.take(voxels, number, axis=axis)
  return plane[::-1, ::-1].T


def stacked(
  planes: Shaped[np.ndarray, "n H W"], axis: int
) -> Shaped[np.ndarray, "x y z"]:
  """The volume of pictures of all its slices: the inverse of `seen`."""
  return np.stack([p.T[::-1, ::-1] for p in planes], axis=axis)


def axis_of(data: Any) -> int:
  """Number of the axis that a config names.

  Raises:
    UserError: there is no such axis, or the window is none.
  """
  if data.axis not in AXES:
    raise UserError(
      f"--config.data.axis={data.axis!r}: choose {', '.join(AXES)}"
    )
  window = tuple(data.window)
  for edge in window:
    _WINDOW.require("data.window", edge)
  if window and (len(window) != 2 or window[0] >= window[1]):
    raise UserError(
      f"--config.data.window={window}: give the lowest and the highest"
      " intensity, or () for percentiles of each volume"
    )
  return AXES.index(data.axis)


def opened(
  studies: Sequence[Study], class_names: Sequence[str], data: Any
) -> Slices:
  """All slices of some volumes.

  Args:
    studies: one or more.
    class_names: index = class of a voxel.
    data: of the config: `axis` and `window`.

  Raises:
    UserError: the axis or the window is none.
  """
  axis = axis_of(data)
  places = [
    Place(i, number)
    for i, study in enumerate(studies)
    for number in range(study.shape[axis])
  ]
  return Slices(
    tuple(studies),
    tuple(places),
    np.array([place.study for place in places], np.int32),
    tuple(class_names),
    axis,
    tuple(data.window),
  )


def divided(
  studies: Sequence[Study],
  class_names: Sequence[str],
  data: Any,
  split: str,
  seed: int,
) -> Slices:
  """The slices of one split, where a seed draws the volumes to test on.

  Of a single volume it draws blocks of slices, which is said.

  Args:
    studies: of both splits.
    class_names: index = class of a voxel.
    data: of the config: `axis`, `window` and `test_fraction`.
    split: "train" or "test".
    seed: of the draw.

  Raises:
    UserError: a split would be empty.
  """
  share = data.test_fraction
  if not 0 < share < 1:
    raise UserError(
      f"--config.data.test_fraction={share} leaves a split empty; give a share"
      " between 0 and 1"
    )
  names = [study.name for study in studies]
  if len(studies) == 1:
    return _of_one(opened(studies, class_names, data), share, split, seed)
  held = set(splits_lib.held_out(names, share, seed))
  chosen = [
    s for i, s in enumerate(studies) if (i in held) == (split == "test")
  ]
  return opened(chosen, class_names, data)


def blocks(depth: int) -> list[range]:
  """The slices of each block of a volume, with gaps between them."""
  starts = range(0, depth - BLOCK + 1, BLOCK + GAP)
  return [range(start, start + BLOCK) for start in starts]


def of_blocks(
  source: Slices, kept: Mapping[int, Sequence[int]], note: str = ""
) -> Slices:
  """Some slices of a single volume.

  Args:
    source: of all its slices.
    kept: number of a block -> of its slices.
    note: see `Slices`.
  """
  pairs = [(block, n) for block, each in kept.items() for n in each]
  return dataclasses.replace(
    source,
    places=tuple(Place(0, number) for _, number in pairs),
    groups=np.array([block for block, _ in pairs], np.int32),
    note=note,
  )


def _of_one(source: Slices, share: float, split: str, seed: int) -> Slices:
  found = blocks(len(source))
  if len(found) < 2:
    raise UserError(
      f"{source.studies[0].name} is the only volume and has {len(source)}"
      f" slices: two splits need two volumes, or {2 * BLOCK + GAP} slices, of"
      f" which blocks of {BLOCK} are taken with gaps of {GAP}"
    )
  names = [str(i) for i in range(len(found))]
  held = set(splits_lib.held_out(names, share, seed))
  note = (
    f"There is one volume only: its splits are blocks of {BLOCK} slices,"
    f" {GAP} slices apart. What is found holds for this volume alone."
  )
  _LOG.warning("note: %s", note)
  chosen = {
    i: block
    for i, block in enumerate(found)
    if (i in held) == (split == "test")
  }
  return of_blocks(source, chosen, note)
