"""HTML pages: the templates, and pictures and bars for them.

A page loads nothing from elsewhere, so that it can be sent as one file, and
every name is escaped. `class_pages` and `defect_page` fill the templates.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import functools
from importlib import resources
import io
import math
from typing import Any

from jaxtyping import UInt8
import jinja2
from markupsafe import Markup
import numpy as np
from PIL import Image

from protojax import printing
from protojax.modify import presets, sides
from protojax.types import Box, Picture

_TEMPLATES = "protojax.report.templates"

# The modifications that have bars, in their order; controls have none.
ORDER = ("hue", "shape", "texture", "contrast", "saturation", "brightness")


@dataclasses.dataclass(frozen=True)
class Run:
  """The head of a report.

  Attributes:
    title: of the run.
    facts: name and value of each figure shown at the top.
    accuracy: name of a figure -> 0 to 1, as measured by the run.
    strengths: parameters of the modifications, by name.
    alerts: sentences on failed checks.
    version: of protojax.
    mode: "fast" if images were modified at the size of the network's input.
    notes: name of a note that the method gives on prototypes -> its meaning.
    links: address and title of each special page.
  """

  title: str
  facts: Sequence[tuple[str, str]] = ()
  accuracy: Mapping[str, float] = dataclasses.field(default_factory=dict)
  strengths: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  alerts: Sequence[str] = ()
  version: str = ""
  mode: str = "fast"
  notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
  links: Sequence[tuple[str, str]] = ()

  def down(self) -> "Run":
    """The same for a page in a folder beside the others."""
    links = [(f"../{address}", title) for address, title in self.links]
    return dataclasses.replace(self, links=links)


def render(template: str, **values: Any) -> str:
  """A template of this package, filled in.

  Raises:
    jinja2.UndefinedError: the template asks for a value that is not given.
  """
  return environment().get_template(template).render(values)


@functools.cache
def environment(*packages: str) -> jinja2.Environment:
  """The templates of some packages, and of the reports, with their filters.

  Cached, because it holds the compiled templates.

  Args:
    *packages: names of the packages whose templates are found first.
  """
  folders = [resources.files(name) for name in (*packages, _TEMPLATES)]

  def text(name: str) -> str | None:
    files = (folder / name for folder in folders)
    return next((f.read_text("utf-8") for f in files if f.is_file()), None)

  made = jinja2.Environment(
    loader=jinja2.FunctionLoader(text),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    finalize=_harmless,
  )
  made.filters.update(_FILTERS)
  return made


def _harmless(value: Any) -> Any:
  """What a template shows; no text of others turns the direction of a page."""
  if isinstance(value, str) and not isinstance(value, Markup):
    return printing.escaped_in_page(value)
  return value


def is_control(name: str) -> bool:
  """Whether a modification changes nothing, except by JPEG."""
  return name.partition("_")[0] == "identity"


def ordered(names: Iterable[str]) -> list[str]:
  """The modifications that have a bar: those of `ORDER`, then the others.

  The two sides of a characteristic share its bar.
  """
  names = [n for n in names if not is_control(n) and n not in presets.SIDES]
  known = [name for name in ORDER if name in names]
  return known + [name for name in names if name not in known]


def score_range(scores: Iterable[Mapping[str, float]]) -> tuple[float, float]:
  """The lowest and the highest of zero and all scores that have a bar."""
  values = [
    score
    for row in scores
    for name, score in row.items()
    if not is_control(name) and math.isfinite(score)
  ]
  low, high = min(values, default=0.0), max(values, default=0.0)
  return min(low, 0.0), max(high, 1e-6)


def bar(score: float, range_: tuple[float, float]) -> str:
  """A bar from zero to the score, as CSS."""
  if not math.isfinite(score):
    return "width:0"
  low, high = range_
  start = (min(score, 0.0) - low) / (high - low)
  return f"left:{100 * start:.2f}%;width:{100 * abs(score) / (high - low):.2f}%"


def span(low: float, high: float, range_: tuple[float, float]) -> str:
  """A line from one value to another, as CSS; hidden if one is unknown."""
  if not (math.isfinite(low) and math.isfinite(high)):
    return "display:none"
  left, right = float(_at(low, range_)), float(_at(high, range_))
  return f"left:{left:.2f}%;width:{right - left:.2f}%"


def jpeg(picture: Picture) -> bytes:
  """A picture as the content of a file."""
  file = io.BytesIO()
  Image.fromarray(np.asarray(picture)).save(file, "JPEG", quality=88)
  return file.getvalue()


def uri(picture: Picture | bytes) -> str:
  """A picture, or the JPEG of one, as a data URI."""
  content = picture if isinstance(picture, bytes) else jpeg(picture)
  data = base64.b64encode(content).decode("ascii")
  return f"data:image/jpeg;base64,{data}"


def cut(
  picture: Picture, box: Box, side: int, at_least: int = 1
) -> UInt8[np.ndarray, "{side} {side} 3"]:
  """A square around a box, resized to `side` pixels.

  Args:
    picture: a square picture.
    box: that the square must hold.
    side: of the result.
    at_least: smallest side of the square in the picture.
  """
  size = picture.shape[0]
  extent = max(box.bottom - box.top, box.right - box.left, at_least)
  extent = min(size, extent)
  top = (box.top + box.bottom - extent) // 2
  left = (box.left + box.right - extent) // 2
  top, left = (max(0, min(at, size - extent)) for at in (top, left))
  piece = Image.fromarray(picture[top : top + extent, left : left + extent])
  return np.asarray(piece.resize((side, side), Image.Resampling.BICUBIC))


def _at(value: float, range_: tuple[float, float]) -> str:
  """The place of a value in a range, in percent."""
  low, high = range_
  return f"{100 * (value - low) / (high - low):.2f}"


def _minus(number: str) -> str:
  """A number with a minus sign in place of the hyphen."""
  return number.replace("-", "\N{MINUS SIGN}")


def _place(box: Box, size: int) -> str:
  """A box as CSS, in percent of the picture."""
  sides = {
    "left": box.left,
    "top": box.top,
    "width": box.right - box.left,
    "height": box.bottom - box.top,
  }
  return ";".join(f"{k}:{100 * v / size:.2f}%" for k, v in sides.items())


_FILTERS: Mapping[str, Callable[..., str]] = {
  "uri": uri,
  "place": _place,
  "bar": bar,
  "span": span,
  "at": _at,
  "minus": _minus,
  "side": sides.had,
  "signed": lambda x: _minus(f"{x:z.2f}"),
  "five": lambda x: _minus(f"{x:z.5f}"),
  "percent": lambda x: f"{x:.1%}",
  "share": lambda x: _minus(f"{100 * x:z.0f} %"),
  # Keeps a number and its percent sign on one line.
  "firm": lambda words: words.replace(" %", "\N{NO-BREAK SPACE}%"),
}
