"""Reads whole slides (extra `slides`): where there is tissue, and tiles of it.

A tile is a square of the slide; its place is its upper left corner (x, y), in
pixels of the finest level.
"""

from collections.abc import Sequence
import contextlib
import importlib
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np
from PIL import Image

from protojax.types import UserError

SUFFIXES = (
  *(".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms"),
  *(".svslide", ".dcm"),
)
# Microns per pixel at 20x, and the side of a tile there.
RESOLUTION, TILE = 0.5, 256
_THUMBNAIL = 2048  # pixels on a side, at most, where tissue is looked for
# Share of a tile that is tissue, at least; saturation that is tissue in any
# case, and that is none.
_TISSUE, _SURELY, _HARDLY = 0.25, 0.08, 0.03
_INSTALL = "python -m pip install 'protojax[slides]'"


@contextlib.contextmanager
def opened(path: Path) -> Any:
  """A slide.

  Raises:
    UserError: openslide is not installed.
    ValueError: it is no slide, or damaged.
  """
  try:
    openslide = importlib.import_module("openslide")
  except ImportError as error:
    raise UserError(f"slides need openslide: {_INSTALL}") from error
  try:
    with openslide.OpenSlide(str(path)) as slide:
      yield slide
  except openslide.OpenSlideError as error:
    raise ValueError(f"no slide, or damaged: {error!s:.200}") from error


def tile_side(slide: Any) -> int:
  """Side of a tile of 256 pixels at 20x, in pixels of the finest level.

  A slide that does not say its resolution is taken for one at 20x.
  """
  microns = slide.properties.get("openslide.mpp-x")
  with contextlib.suppress(TypeError, ValueError):
    if float(microns) > 0:
      return max(1, round(TILE * RESOLUTION / float(microns)))
  return TILE


def tissue(slide: Any, side: int) -> Int[np.ndarray, "n 2"]:
  """Places of the tiles that show tissue, row by row.

  Tissue is coloured: its saturation is above Otsu's threshold of the slide.

  Args:
    slide: from `opened`.
    side: of a tile.
  """
  width, height = slide.dimensions
  columns, rows = width // side, height // side
  if not (columns and rows):
    return np.zeros((0, 2), int)
  most = max(columns, rows)
  # Some pixels for each tile, as many on each side.
  each = max(1, min(8, _THUMBNAIL // most))
  small = slide.get_thumbnail((_THUMBNAIL, _THUMBNAIL)).convert("RGB")
  seen = (
    small.size[0] * columns * side / width,
    small.size[1] * rows * side / (height),
  )
  small = small.resize(
    (columns * each, rows * each), Image.Resampling.BOX, box=(0, 0, *seen)
  )
  coloured = _mask(np.asarray(small))
  share = coloured.reshape(rows, each, columns, each).mean(axis=(1, 3))
  found = np.argwhere(share >= _TISSUE)
  return found[:, ::-1] * side


def tiles(
  slide: Any, places: Int[np.ndarray, "n 2"], side: int, size: int
) -> UInt8[np.ndarray, "n size size 3"]:
  """Tiles of a slide.

  Args:
    slide: from `opened`.
    places: of the tiles.
    side: of a tile in the slide.
    size: of its picture, in pixels.
  """
  level = slide.get_best_level_for_downsample(max(side / size, 1.0))
  scale = slide.level_downsamples[level]
  read = max(1, round(side / scale))
  found = np.zeros((len(places), size, size, 3), np.uint8)
  for i, (x, y) in enumerate(places):
    region = slide.read_region((int(x), int(y)), level, (read, read))
    # What lies outside of the scan is transparent: white, as the background.
    paper = Image.new("RGBA", region.size, "white")
    paper.alpha_composite(region)
    picture = paper.convert("RGB")
    if read != size:
      picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    found[i] = np.asarray(picture)
  return found


def listed(root: Path, paths: Sequence[str]) -> dict[str, Path]:
  """Name of each slide -> its file.

  Raises:
    UserError: there is none, or two have one name.
  """
  found: dict[str, Path] = {}
  for path in map(Path, paths):
    if path.suffix.lower() not in SUFFIXES:
      continue
    if path.stem in found:
      raise UserError(
        f"{path} and {found[path.stem]} have one name: rename one of them"
      )
    found[path.stem] = path
  if not found:
    raise UserError(f"{root} has no slide: expected {', '.join(SUFFIXES)}")
  return found


def _mask(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
  """Pixels that are coloured."""
  largest, least = image.max(axis=2), image.min(axis=2)
  saturation = (largest - least) / np.maximum(largest, 1)
  level = np.clip(_otsu(saturation), _HARDLY, _SURELY)
  # What is almost black is a pen or the edge of the glass.
  return (saturation > level) & (largest > 30)


def _otsu(values: Float[np.ndarray, "h w"]) -> float:
  """The level that divides values into two groups that differ most."""
  counts, edges = np.histogram(values, 256, (0.0, 1.0))
  middles = (edges[1:] + edges[:-1]) / 2
  below = np.cumsum(counts)
  above = below[-1] - below
  sums = np.cumsum(counts * middles)
  low = sums / np.maximum(below, 1)
  high = (sums[-1] - sums) / np.maximum(above, 1)
  return float(middles[np.argmax(below * above * (low - high) ** 2)])
