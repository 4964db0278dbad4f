"""Pictures of inspections: anomaly maps, and the regions of prototypes.

Made on the host, only of images that the page shows.
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int, UInt8
import numpy as np
from PIL import Image

from protojax.heat import colormap
from protojax.report import page
from protojax.types import Box, Picture

# Colours that colour-blind readers can tell apart (Okabe and Ito, 2008; without
# its black).
PALETTE = (
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#d55e00",
  "#f0e442",
  "#999999",
)
# Largest side of a picture under a map; the image itself keeps its size.
_SIDE = 256
# Side of a patch with its surroundings, and the gap between two.
_PATCH, _GAP = 48, 2
_GREY = 128


def swatch(number: int) -> str:
  """CSS of the number of an intrinsic prototype on its colour."""
  name = PALETTE[(number - 1) % len(PALETTE)]
  ink = "#fff" if name == PALETTE[0] else "#000"
  return f"background:{name};color:{ink}"


def small(picture: Picture) -> UInt8[np.ndarray, "height width 3"]:
  """The image as it lies under a map, of at most `_SIDE` pixels."""
  image = Image.fromarray(picture)
  image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
  return np.asarray(image)


def heat(
  picture: Picture,
  anomaly_map: Float[np.ndarray, "rows columns"],
  threshold: float,
) -> UInt8[np.ndarray, "height width 3"]:
  """The image under its anomaly map, on the scale of the threshold.

  Blue is no anomaly, green is the threshold, red is twice that or more, the
  same in all images. Where the anomaly is small, the image is visible. If the
  threshold is not above zero, the map is scaled to its own range.
  """
  picture = small(picture)
  height, width, _ = picture.shape
  low, high = 0.0, 2 * threshold
  if not high > 0:
    low, high = float(anomaly_map.min()), float(anomaly_map.max())
  scaled = (anomaly_map - low) / max(high - low, 1e-12)
  resized = Image.fromarray(scaled.astype(np.float32)).resize(
    (width, height), Image.Resampling.BILINEAR
  )
  share = np.clip(np.asarray(resized), 0, 1)
  scale = _scale()
  colours = scale[np.rint((len(scale) - 1) * share).astype(int)]
  weight = 0.6 * np.clip(2 * share, 0, 1)[..., None] ** 2
  mixed = (1 - weight) * picture + weight * colours
  return np.rint(mixed).astype(np.uint8)


def regions(
  picture: Picture, assignment: Int[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "height width 3"]:
  """The image in grey, with every cell in the colour of its prototype."""
  picture = small(picture)
  size = picture.shape[:2]
  grey = picture.astype(float) @ np.array([0.299, 0.587, 0.114])
  table = np.array([_rgb(name) for name in PALETTE])
  colours = table[(assignment - 1) % len(PALETTE)]
  rows, columns = (
    np.arange(n) * cells // n
    for n, cells in zip(size, assignment.shape, strict=True)
  )
  mixed = 0.45 * grey[..., None] + 0.55 * colours[rows[:, None], columns[None]]
  return np.rint(mixed).astype(np.uint8)


def strip(
  picture: Picture, patches: Sequence[Box]
) -> UInt8[np.ndarray, "height width 3"]:
  """Patches of an image side by side, each with its surroundings."""
  least = picture.shape[0] // 8
  pieces = [page.cut(picture, box, _PATCH, least) for box in patches]
  gap = np.full((_PATCH, _GAP, 3), _GREY, np.uint8)
  joined = [picture for piece in pieces for picture in (gap, piece)]
  return np.concatenate(joined[1:], axis=1)


def outline(truth: Bool[np.ndarray, "H W"]) -> str:
  """The border of the true pixels as an SVG path, one unit for a pixel."""
  padded = np.pad(truth, 1)
  across = padded[1:, 1:-1] != padded[:-1, 1:-1]
  down = padded[1:-1, 1:] != padded[1:-1, :-1]
  lines = [f"M{x} {y}h{n}" for y, x, n in _runs(across)]
  lines += [f"M{x} {y}v{n}" for x, y, n in _runs(down.T)]
  return "".join(lines)


def middles(
  assignment: Int[np.ndarray, "h w"],
) -> list[tuple[int, float, float]]:
  """Places for the number of each prototype, deep inside its cells.

  Returns:
    Number, share of the width and share of the height.
  """
  h, w = assignment.shape
  found = []
  for number in np.unique(assignment).tolist():
    rest = deepest = assignment == number
    while rest.any():
      deepest = rest
      padded = np.pad(rest, 1)
      rest = (
        padded[1:-1, 1:-1]
        & padded[:-2, 1:-1]
        & padded[2:, 1:-1]
        & padded[1:-1, :-2]
        & padded[1:-1, 2:]
      )
    cells = np.argwhere(deepest)
    row, column = cells[len(cells) // 2].tolist()
    found.append((number, (column + 0.5) / w, (row + 0.5) / h))
  return found


def _runs(edges: Bool[np.ndarray, "h w"]) -> list[tuple[int, int, int]]:
  """Line, start and length of every run of true edges along the lines."""
  steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
  lines, starts = np.nonzero(steps == 1)
  ends = np.nonzero(steps == -1)[1]
  lengths = ends - starts
  return list(
    zip(lines.tolist(), starts.tolist(), lengths.tolist(), strict=True)
  )


def _scale() -> UInt8[np.ndarray, "levels 3"]:
  """The colours from pure blue to pure red, without the dark ends."""
  return colormap.heat(np.arange(256.0)[None, None])[0, 0, 32:224]


def _rgb(name: str) -> tuple[int, int, int]:
  return int(name[1:3], 16), int(name[3:5], 16), int(name[5:7], 16)
