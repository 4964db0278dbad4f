"""Draws blocks: what the templates show for each, with pictures as files.

`blocks.html.jinja` has a macro for each function here. Numbers become text,
curves become paths, and maps become pictures.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import Any

from jaxtyping import Bool, Float, UInt8
import numpy as np
from PIL import Image

from protojax.explain import blocks
from protojax.explain.picture_file import PictureFile
from protojax.heat import colormap
from protojax.report import block_sides, plots
from protojax.report.block_text import UNKNOWN, number, signed
from protojax.types import Picture

# (name of a file, picture) -> the file.
Put = Callable[[str, Picture], PictureFile]

WIDTH, HEIGHT = 600, 220
# Smallest side of the picture of a map.
_SIDE = 256
# A page shows so many rows of a table; CSV holds all.
ROWS = 200
# Lines are told apart by six colours and their dashes.
_COLOURS = 6
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 5", "12 5")
# A label stands above its box if this share of the picture is free there.
_ROOM = 0.1
# Sides of a picture of one colour, at most, as legends have them.
_COLOUR = 24
# Of an explanation, beside its blocks.
_FIELDS = tuple(
  f.name for f in dataclasses.fields(blocks.Explanation) if f.name != "blocks"
)


@dataclasses.dataclass(frozen=True)
class Drawn:
  """A block as its macro takes it.

  Attributes:
    kind: of the block; the name of the macro.
    values: that the macro shows.
  """

  kind: str
  values: Mapping[str, Any]


def explanation(found: blocks.Explanation, put: Put) -> dict[str, Any]:
  """What the template shows of an explanation.

  Args:
    found: to be drawn.
    put: stores a picture.
  """
  drawn = [
    draw(block, put, f"{found.key}/{n}") for n, block in enumerate(found.blocks)
  ]
  label = found.title
  if found.subject and found.subject.lower() not in label.lower():
    label = f"{found.subject}: {label}"
  fields = {f: getattr(found, f) for f in _FIELDS}
  fields["title"] = signed(found.title)
  return {**fields, "label": signed(label), "blocks": drawn}


def draw(block: blocks.Block, put: Put, name: str) -> Drawn:
  """Draws a block of any kind.

  Args:
    block: to be drawn.
    put: stores a picture.
    name: of the block; begins the names of its pictures.
  """
  return _KINDS[type(block)](block, put, name)


def picture(block: blocks.Picture, put: Put, name: str) -> Drawn:
  """A picture with its boxes."""
  return Drawn("picture", _framed(block, put, name))


def map_(block: blocks.Map, put: Put, name: str) -> Drawn:
  """A map over its picture, with its scale and the boxes of the picture.

  Without a picture the map itself is the picture, and no heat lies over it.
  """
  over, heat = block.over, None
  if over is None:
    over = blocks.Picture(painted(block))
  else:
    heat = put(f"{name}-heat", painted(block))
  low, high, unknown = _ends(block.values)
  return Drawn(
    "map",
    {
      **_framed(dataclasses.replace(over, caption=block.caption), put, name),
      "heat": heat,
      "low": number(block.low),
      "high": number(block.high),
      "unit": block.unit,
      "description": f"values from {low} to {high}" if not unknown else "",
    },
  )


def table(block: blocks.Table, put: Put, name: str) -> Drawn:
  """The first rows of a table; columns of numbers are set to the right."""
  first = block.rows[:ROWS]
  shown, rows = block_sides.of_table(block.columns, first)
  kinds = zip(*block.rows, strict=True)
  numeric = [
    all(x is None or _is_number(x) for x in column) for column in kinds
  ] or [False] * len(block.columns)
  return Drawn(
    "table",
    {
      "caption": block.caption,
      "columns": [(block.columns[i], numeric[i]) for i in shown],
      "rows": [
        [(text, numeric[i]) for text, i in zip(row, shown, strict=True)]
        for row in rows
      ],
      # Rows of sides are not missed.
      "count": len(block.rows) - len(first) + len(rows),
    },
  )


def curve(block: blocks.Curve, put: Put, name: str) -> Drawn:
  """Lines in one frame, WIDTH x HEIGHT, y downwards."""
  x_range = _range([line.x for line in block.series])
  y_range = _range([line.y for line in block.series])
  lines = []
  for n, line in enumerate(block.series):
    x = WIDTH * _share(line.x, x_range)
    y = HEIGHT * (1 - _share(line.y, y_range))
    low, high, _ = _ends(line.y)
    lines.append(
      {
        "name": line.name,
        "path": _path(x, y),
        "dots": _dots(x, y),
        "number": n % _COLOURS,
        "dash": _DASHES[(n + n // _COLOURS) % len(_DASHES)],
        "description": f"{len(line.y)} points, from {low} to {high}",
      }
    )
  return Drawn(
    "curve",
    {
      "caption": block.caption,
      "lines": lines,
      "x": _axis(block.x),
      "y": _axis(block.y),
      "x_ticks": _ticks(x_range, WIDTH),
      "y_ticks": [(HEIGHT - at, t) for at, t in _ticks(y_range, HEIGHT)],
    },
  )


def matrix(block: blocks.Matrix, put: Put, name: str) -> Drawn:
  """A table whose cells are shaded by their share of the largest value."""
  known = np.abs(block.values[np.isfinite(block.values)])
  most = float(known.max()) if known.size else 0.0
  shown = block_sides.columns(block.columns)

  def cells(row: list[float]) -> list[tuple[str, bool, str]]:
    values = (row[i] for i in shown)
    texts = block_sides.texts(block.columns, row)
    return [
      (text, v < 0, _shade(v, most))
      for text, v in zip(texts, values, strict=True)
    ]

  return Drawn(
    "matrix",
    {
      "caption": block.caption,
      "unit": block.unit,
      "columns": [signed(block.columns[i]) for i in shown],
      "rows": [
        (signed(name), cells(row))
        for name, row in zip(block.rows, block.values.tolist(), strict=True)
      ],
    },
  )


def gallery(block: blocks.Gallery, put: Put, name: str) -> Drawn:
  """Pictures side by side; small ones of one colour beside their names."""
  return Drawn(
    "gallery",
    {
      "caption": block.caption,
      "colours": all(_is_colour(one.image) for one in block.pictures),
      "pictures": [
        _framed(one, put, f"{name}-{n}") for n, one in enumerate(block.pictures)
      ],
    },
  )


def _is_colour(image: Picture) -> bool:
  small = max(image.shape[:2]) <= _COLOUR
  return small and bool((image == image[:1, :1]).all())


def regions(block: blocks.Regions, put: Put, name: str) -> Drawn:
  """A picture under the outlines of its regions, and a list of their texts."""
  rows, columns = block.numbers.shape
  return Drawn(
    "regions",
    {
      "caption": block.caption,
      "picture": _framed(block.picture, put, name),
      "rows": rows,
      "columns": columns,
      "regions": [
        (signed(text), _outline(block.numbers == n))
        for n, text in enumerate(block.texts)
      ],
    },
  )


def sentence(block: blocks.Sentence, put: Put, name: str) -> Drawn:
  """A paragraph."""
  return Drawn("sentence", {"text": signed(block.text)})


def note(block: blocks.Note, put: Put, name: str) -> Drawn:
  """A remark in a frame."""
  return Drawn("note", {"text": signed(block.text), "level": block.level})


_KINDS: Mapping[type, Callable[..., Drawn]] = {
  blocks.Picture: picture,
  blocks.Map: map_,
  blocks.Table: table,
  blocks.Curve: curve,
  blocks.Matrix: matrix,
  blocks.Gallery: gallery,
  blocks.Regions: regions,
  blocks.Sentence: sentence,
  blocks.Note: note,
}


def painted(block: blocks.Map) -> UInt8[np.ndarray, "H W 3"]:
  """A map in colours, half and half with the picture that it covers.

  Blue is the lower end of its scale, red the upper; unknown places are the
  picture alone, or grey.
  """
  known = np.isfinite(block.values)
  share = np.clip((block.values - block.low) / (block.high - block.low), 0, 1)
  share = np.where(known, share, 0.0).astype(np.float32)
  if block.over is None:
    times = -(-_SIDE // max(1, *block.values.shape))
    under = np.full((*(times * n for n in block.values.shape), 3), 127.0)
  else:
    under = block.over.image.astype(float)
  size = under.shape[1::-1]
  smooth = Image.Resampling.BILINEAR if block.over else Image.Resampling.NEAREST
  share = np.asarray(Image.fromarray(share).resize(size, smooth))
  shown = np.asarray(
    Image.fromarray(known).resize(size, Image.Resampling.NEAREST)
  )
  colours = _scale()[np.rint(255 * share).astype(int)]
  return _mixed(under, colours, shown, 0.5 if block.over else 1.0)


def _mixed(
  under: Float[np.ndarray, "H W 3"],
  colours: UInt8[np.ndarray, "H W 3"],
  shown: Bool[np.ndarray, "H W"],
  weight: float,
) -> UInt8[np.ndarray, "H W 3"]:
  weights = weight * shown[..., None]
  return np.rint((1 - weights) * under + weights * colours).astype(np.uint8)


def _scale() -> UInt8[np.ndarray, "256 3"]:
  return colormap.heat(np.arange(256.0)[None, None])[0, 0]


def _framed(block: blocks.Picture, put: Put, name: str) -> dict[str, Any]:
  """A picture file with its boxes."""
  height, width = block.image.shape[:2]
  labels = [frame.label for frame in block.boxes if frame.label]
  return {
    "file": put(name, block.image),
    "heat": None,
    "caption": signed(block.caption),
    "alt": signed(": ".join(filter(None, (block.caption, ", ".join(labels))))),
    "height": block.image.shape[0],
    "width": block.image.shape[1],
    "ratio": block.stretch * block.image.shape[1] / block.image.shape[0],
    "stretch": block.stretch,
    "frames": [
      {
        "label": frame.label,
        "above": frame.box.top > _ROOM * height,
        "left": f"{100 * frame.box.left / width:.2f}%",
        "top": f"{100 * frame.box.top / height:.2f}%",
        "width": f"{100 * (frame.box.right - frame.box.left) / width:.2f}%",
        "height": f"{100 * (frame.box.bottom - frame.box.top) / height:.2f}%",
      }
      for frame in block.boxes
    ],
  }


def _is_number(value: blocks.Cell) -> bool:
  return isinstance(value, int | float) and not isinstance(value, bool)


def _ends(values: np.ndarray) -> tuple[str, str, bool]:
  """The lowest and the highest value as text, and whether none is known."""
  known = values[np.isfinite(values)]
  if not known.size:
    return UNKNOWN, UNKNOWN, True
  return number(float(known.min())), number(float(known.max())), False


def _outline(inside: Bool[np.ndarray, "h w"]) -> str:
  """An SVG path over the places of a region: a box for each run in a row."""
  parts = []
  edges = np.diff(np.pad(inside.astype(np.int8), ((0, 0), (1, 1))), axis=1)
  for y, row in enumerate(edges):
    starts, ends = np.flatnonzero(row > 0), np.flatnonzero(row < 0)
    parts += [
      f"M{a} {y}h{b - a}v1h-{b - a}z" for a, b in zip(starts, ends, strict=True)
    ]
  return "".join(parts)


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
  """A range that holds all values that are known."""
  known = np.concatenate([v[np.isfinite(v)] for v in values] or [np.zeros(0)])
  if not known.size:
    return 0.0, 1.0
  low, high = float(known.min()), float(known.max())
  room = 0.0 if high > low else abs(low) or 1.0
  return low - room, high + room


def _share(values: np.ndarray, range_: tuple[float, float]) -> np.ndarray:
  low, high = range_
  return (values - low) / (high - low)


def _path(x: np.ndarray, y: np.ndarray) -> str:
  """An SVG path through the points; unknown ones break it."""
  parts, start = [], True
  for known, at, down in zip(np.isfinite(x + y), x, y, strict=True):
    if known:
      parts.append(f"{'M' if start else 'L'}{at:.1f} {down:.1f}")
    start = not known
  return "".join(parts)


def _dots(x: np.ndarray, y: np.ndarray) -> list[tuple[str, str]]:
  """Points without a neighbour, which no line would show."""
  known = np.pad(np.isfinite(x + y), 1)
  alone = known[1:-1] & ~known[:-2] & ~known[2:]
  return [(f"{x[i]:.1f}", f"{y[i]:.1f}") for i in np.flatnonzero(alone)]


def _ticks(range_: tuple[float, float], length: int) -> list[tuple[float, str]]:
  low, high = range_
  return [
    (round(length * (tick - low) / (high - low), 1), number(tick))
    for tick in plots.ticks(low, high, 6)
  ]


def _axis(axis: blocks.Axis) -> str:
  return f"{axis.name} ({axis.unit})" if axis.unit else axis.name


def _shade(value: float, most: float) -> str:
  share = abs(value) / most if most and math.isfinite(value) else 0.0
  return f"{100 * share:.0f}%"
