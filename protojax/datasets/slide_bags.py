"""What `prepare slides` leaves beside its bags, and their tiles read again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from jaxtyping import UInt8
import numpy as np

from protojax import json_files
from protojax.datasets import slide_reader
from protojax.datasets.bag_files import Files

INDEX = "slides.json"


class Embedder(NamedTuple):
  """What makes vectors of tiles.

  Attributes:
    backbone: its name.
    weights: file or address of them; "": those that it comes with.
    embed: pictures uint8 [b s s 3] -> vectors [b c], on the device.
    image_size: s, of a tile, in pixels.
    batch_size: b, of a step.
  """

  backbone: str
  weights: str
  embed: Callable[[UInt8[np.ndarray, "b s s 3"]], Any]
  image_size: int
  batch_size: int


class Slide(TypedDict):
  """Where a bag comes from: its slide, and the side of a tile in it."""

  path: str
  tile: int


class Index(TypedDict):
  """slides.json: what made the vectors, and of which slides."""

  backbone: str
  weights: str
  image_size: int
  slides: dict[str, Slide]


class Bags:
  """Bags whose pictures are read from their slides; a `bag_source.Reader`."""

  def __init__(self, reader: Files, index: Index) -> None:
    self._reader, self._index = reader, index
    self.sizes, self.placed = reader.sizes, reader.placed
    self.channels = reader.channels

  def name(self, i: int) -> str:
    """Path of a bag below the root."""
    return self._reader.name(i)

  def read(self, i: int) -> Mapping[str, np.ndarray]:
    """Arrays of a bag."""
    return self._reader.read(i)

  def pictures(
    self, i: int, rows: Sequence[int]
  ) -> UInt8[np.ndarray, "r H W 3"] | None:
    """Tiles of some instances; None if the slide is not there any more."""
    slide = self._index["slides"].get(Path(self.name(i)).name)
    if slide is None or not Path(slide["path"]).is_file():
      return self._reader.pictures(i, rows)
    places = np.asarray(self.read(i)["coords"])[np.asarray(rows, int)]
    with slide_reader.opened(Path(slide["path"])) as opened:
      return slide_reader.tiles(
        opened, places, slide["tile"], self._index["image_size"]
      )


def index(root: Path) -> Index | None:
  """slides.json of a folder of bags; None without."""
  place = root / INDEX
  return json_files.read_json(place, Index) if place.is_file() else None
