"""Pictures of plans and segments, as blocks."""

from collections.abc import Iterator, Sequence

from jaxtyping import Float, Int
import numpy as np

from protojax.explain import blocks
from protojax.methods.patchct.network import Network
from protojax.types import Box, Picture

# Colours of segments; further labels share the last.
_COLOURS = {
  "red": (220, 50, 47),
  "green": (60, 160, 60),
  "blue": (38, 110, 210),
  "yellow": (230, 190, 20),
  "magenta": (200, 60, 180),
  "cyan": (40, 175, 175),
  "orange": (240, 130, 20),
  "white": (250, 250, 250),
}
# Cells beside a patch that its picture shows.
_AROUND = 1


def cell_box(cell: int, grid: tuple[int, int], size: int) -> Box:
  """The box of a cell: its place in the grid, in pixels."""
  row, column = divmod(int(cell), grid[1])
  height, width = size / grid[0], size / grid[1]
  ends = row * height, column * width, (row + 1) * height, (column + 1) * width
  return Box(*(round(end) for end in ends))


def patch(
  image: Picture, cell: int, grid: tuple[int, int], caption: str, stretch: float
) -> blocks.Picture:
  """A patch, framed, with its neighbours."""
  size = len(image)
  box = cell_box(cell, grid, size)
  height, width = (_AROUND * size // side for side in grid)
  top, left = max(box.top - height, 0), max(box.left - width, 0)
  shown = image[top : box.bottom + height, left : box.right + width]
  moved = Box(
    box.top - top, box.left - left, box.bottom - top, box.right - left
  )
  return blocks.Picture(
    np.ascontiguousarray(shown), caption, (blocks.Frame(moved),), stretch
  )


def places(
  image: Picture,
  cells: Sequence[tuple[int, int]],
  names: Sequence[str],
  model: Network,
) -> blocks.Picture:
  """The image with the best patch of each label framed."""
  frames = tuple(
    blocks.Frame(cell_box(cell, model.grid, len(image)), names[k])
    for k, cell in cells
  )
  return blocks.Picture(image, "The best patch of each label", frames)


def plan(
  image: Picture, mass: Float[np.ndarray, " j"], caption: str, model: Network
) -> blocks.Map:
  """The backward plan of a label over the image."""
  values = np.asarray(mass, np.float32).reshape(model.grid)
  high = max(float(values.max()), 1e-9)
  over = blocks.Picture(image)
  return blocks.Map(values, 0.0, high, caption, "share of the label", over)


def segmentation(
  image: Picture,
  segments: Int[np.ndarray, " j"],
  said: Sequence[int],
  names: Sequence[str],
  model: Network,
) -> Iterator[blocks.Block]:
  """The label that each patch sends most of its mass to, in colours."""
  rows, columns = model.grid
  size = len(image)
  y, x = np.indices((size, size))
  numbers = segments.reshape(rows, columns)[
    y * rows // size, x * columns // size
  ]
  grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
  painted, table = grey.copy(), []
  colours = list(_COLOURS)
  for n, k in enumerate(said):
    colour = colours[min(n, len(colours) - 1)]
    mine = numbers == k
    painted[mine] = 0.5 * grey[mine] + 0.5 * np.array(_COLOURS[colour])
    table.append((names[k], colour, float((segments == k).mean())))
  yield blocks.Picture(
    np.rint(painted).astype(np.uint8),
    "The label that each patch is matched with most; grey: none that is said",
  )
  yield blocks.Table(
    ("label", "colour", "share of the patches"), tuple(table), "Segments"
  )
