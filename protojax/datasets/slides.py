"""Prepares bags from whole slides: a file of features for each slide.

A slide is cut into tiles of 256 pixels at 20x; those with tissue go through a
backbone. `slides.json` beside the bags says what made the vectors. A slide
whose bag is there already is passed over, so that the same command goes on
where it was stopped. If the source has bags.csv, it is copied.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int, UInt8
import numpy as np

from protojax import json_files, parallel, text_files, writing
from protojax.datasets import array_records, slide_bags, slide_reader, walk
from protojax.datasets.slide_bags import Embedder, Index
from protojax.types import UserError

PREPARES = "whole slides, cut into tiles that become bags of features"
WRITES = "bags"
TRAINS = "comel_folder"
# `operations.preparing` gives it a backbone.
EMBEDS = True
_LIST = "bags.csv"


def prepare(
  source: str,
  output: str,
  begin: Callable[[int], Any],
  advance: Callable[[], Any],
  embedder: Embedder,
) -> array_records.Outcome:
  """Writes a bag for each slide, or goes on where it was stopped.

  Args:
    source: a folder of slides, at any depth.
    output: the folder to write to; made if it is not there.
    begin: called with the number of slides that are still to be read.
    advance: called after each slide.
    embedder: of the tiles.

  Raises:
    UserError: there is no slide, openslide is not installed, the output cannot
      be written, or holds bags of another backbone.
  """
  root, home = Path(source), Path(output)
  if not root.is_dir():
    raise UserError(f"--source={source} is not a folder of slides")
  slides = slide_reader.listed(root, walk.walk(source).files)
  index = _index(home, embedder)
  left = {n: p for n, p in slides.items() if not (home / f"{n}.npz").exists()}
  begin(len(left))
  skipped = []
  for name, path in left.items():
    try:
      with slide_reader.opened(path) as slide:
        side = slide_reader.tile_side(slide)
        content = _bag(slide, side, embedder)
    except ValueError as error:
      skipped.append((str(path), str(error)))
    else:
      index["slides"][name] = {"path": str(path.resolve()), "tile": side}
      # First: a bag is complete, with what is known of it, once it is there.
      _write_index(home, index)
      with writing.replacing(home / f"{name}.npz", "wb") as file:
        np.savez(file, features=content[0], coords=content[1])
    advance()
  if (root / _LIST).is_file():
    with writing.replacing(home / _LIST) as file:
      file.write(text_files.read(root / _LIST))
  count = len(slides) - len(skipped)
  return array_records.Outcome({"slides": count}, tuple(skipped))


def _bag(
  slide: Any, side: int, embedder: Embedder
) -> tuple[Float[np.ndarray, "n c"], Int[np.ndarray, "n 2"]]:
  places = slide_reader.tissue(slide, side)
  if not len(places):
    raise ValueError("no tile of it shows tissue")
  size, step = embedder.image_size, embedder.batch_size

  def batches() -> Iterator[UInt8[np.ndarray, "n s s 3"]]:
    for first in range(0, len(places), step):
      part = places[first : first + step]
      yield slide_reader.tiles(slide, part, side, size)

  found = [_embedded(embedder, tiles) for tiles in batches()]
  return np.concatenate(found), places


def _embedded(
  embedder: Embedder, tiles: UInt8[np.ndarray, "n s s 3"]
) -> Float[np.ndarray, "n c"]:
  """Vectors of tiles; the last batch is padded, to the one shape compiled."""
  short = embedder.batch_size - len(tiles)
  padded = np.pad(tiles, ((0, short), (0, 0), (0, 0), (0, 0)))
  return np.asarray(embedder.embed(padded))[: len(tiles)]


def _index(home: Path, embedder: Embedder) -> Index:
  """slides.json as it stands, or a new one."""
  fresh: Index = {
    "backbone": embedder.backbone,
    "weights": embedder.weights,
    "image_size": embedder.image_size,
    "slides": {},
  }
  place = home / slide_bags.INDEX
  if not place.exists():
    return fresh
  found: Index = json_files.read_json(place, Index)
  for key in ("backbone", "weights", "image_size"):
    if found[key] != fresh[key]:
      raise UserError(
        f"{home} holds bags of {key} {found[key]!r}, not {fresh[key]!r}: give"
        " another --output"
      )
  return found


def _write_index(home: Path, index: Index) -> None:
  if parallel.is_primary():
    with writing.replacing(home / slide_bags.INDEX) as file:
      file.write(writing.json_text(index, 1))
