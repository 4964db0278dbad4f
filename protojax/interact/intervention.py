"""An intervention of a person in an image, and its form in JSON.

Files of the user, requests of the page and WORKDIR/interventions.json all hold

  {"look": [BOX, ...], "ignore": [BOX, ...], "rejected": [NAME, ...],
   "alpha": 0.5}

with {"top", "left", "bottom", "right"} for a box. All keys may be left out.
Messages about mistakes name their place.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import difflib
import math
from typing import Any, NamedTuple

from protojax.types import UserError

# Most boxes of either kind in the compiled program.
MOST_BOXES = 32
ALPHA = 0.5


class Box(NamedTuple):
  """A rectangle in pixels of an image's own size; bottom, right excluded."""

  top: float
  left: float
  bottom: float
  right: float


@dataclasses.dataclass(frozen=True)
class Intervention:
  """Where to look in an image, and which concepts to reject.

  Attributes:
    look: boxes of importance 1.
    ignore: boxes of importance 0, also where they overlap those of `look`.
    rejected: names of concepts that do not count.
    alpha: importance outside of all boxes, from 0 to 1; 1 if `look` is empty.
  """

  look: tuple[Box, ...] = ()
  ignore: tuple[Box, ...] = ()
  rejected: tuple[str, ...] = ()
  alpha: float = ALPHA

  def as_json(self) -> dict[str, Any]:
    """The intervention as JSON, as `parse` reads it."""
    return {
      "look": [box._asdict() for box in self.look],
      "ignore": [box._asdict() for box in self.ignore],
      "rejected": list(self.rejected),
      "alpha": self.alpha,
    }


_KEYS = tuple(field.name for field in dataclasses.fields(Intervention))


def parse(
  content: Any,
  concept_names: Sequence[str],
  size: tuple[int, int],
  where: str = "",
) -> Intervention:
  """An intervention out of JSON.

  Args:
    content: the object; its "image", "before" and "after" are not read.
    concept_names: those that can be rejected.
    size: height and width of the image in pixels; boxes are cut off there.
    where: start of messages about mistakes, such as "boxes.json, image 'a'".

  Raises:
    UserError: something is wrong; says what, and where.
  """
  where = where and f"{where}: "
  known = (*_KEYS, "image", "before", "after")
  content = mapping(content, f"{where}an intervention")
  for key in content:
    if key not in known:
      raise UserError(
        f"{where}unknown key {key!r}{nearest(key, _KEYS)}; there are"
        f" {', '.join(_KEYS)}"
      )
  look, ignore = (
    _boxes(content.get(key, []), size, f"{where}{key}")
    for key in ("look", "ignore")
  )
  names = sequence(content.get("rejected", []), f"{where}rejected")
  for name in names:
    if name not in concept_names:
      raise UserError(
        f"{where}no concept {name!r}{nearest(name, concept_names)}; there are"
        f" {', '.join(concept_names)}"
      )
  alpha = _number(content.get("alpha", ALPHA), f"{where}alpha")
  if not 0 <= alpha <= 1:
    raise UserError(f"{where}alpha is {alpha:g}; it must lie from 0 to 1")
  # Each once, in the order of the model.
  rejected = tuple(name for name in concept_names if name in names)
  return Intervention(look, ignore, rejected, alpha)


def mapping(content: Any, what: str) -> Mapping[str, Any]:
  """The content if it is a JSON object.

  Raises:
    UserError: it is not.
  """
  if not isinstance(content, Mapping):
    raise UserError(
      f"{what} is {_shown(content)}; it must be an object {{...}}"
    )
  return content


def sequence(content: Any, what: str) -> Sequence[Any]:
  """The content if it is a JSON list.

  Raises:
    UserError: it is not.
  """
  if isinstance(content, str) or not isinstance(content, Sequence):
    raise UserError(f"{what} is {_shown(content)}; it must be a list [...]")
  return content


def nearest(name: Any, known: Sequence[str]) -> str:
  """A hint at the known name that is most similar; empty without one."""
  found = difflib.get_close_matches(str(name), known, 1)
  return f" (did you mean {found[0]!r}?)" if found else ""


def _boxes(content: Any, size: tuple[int, int], where: str) -> tuple[Box, ...]:
  content = sequence(content, where)
  if len(content) > MOST_BOXES:
    raise UserError(
      f"{where} has {len(content)} boxes; {MOST_BOXES} are possible"
    )
  return tuple(
    _box(one, size, f"{where}[{n}]") for n, one in enumerate(content)
  )


def _box(content: Any, size: tuple[int, int], where: str) -> Box:
  content = mapping(content, where)
  if set(content) != set(Box._fields):
    raise UserError(
      f"{where} has {', '.join(map(repr, content)) or 'no keys'}; a box has"
      f" {', '.join(map(repr, Box._fields))}, in pixels of the image"
    )
  box = Box(*(_number(content[k], f"{where}.{k}") for k in Box._fields))
  for low, high in (("top", "bottom"), ("left", "right")):
    if not getattr(box, low) < getattr(box, high):
      raise UserError(
        f"{where}: {high} is {getattr(box, high):g} and {low}"
        f" {getattr(box, low):g}; {high} must be greater"
      )
  height, width = size
  inside = Box(
    max(box.top, 0.0),
    max(box.left, 0.0),
    min(box.bottom, height),
    min(box.right, width),
  )
  if not (inside.top < inside.bottom and inside.left < inside.right):
    raise UserError(
      f"{where} lies outside of the {width} x {height} pixels of its image"
    )
  return inside


def _number(content: Any, where: str) -> float:
  # In Python JSON's true is an int, and the reader accepts NaN.
  if isinstance(content, bool) or not isinstance(content, int | float):
    raise UserError(f"{where} is {_shown(content)}; it must be a number")
  # An integer may be too large for a float.
  try:
    value = float(content)
  except OverflowError:
    value = math.inf
  if not math.isfinite(value):
    raise UserError(f"{where} is {_shown(content)}; it must be finite")
  return value


def _shown(content: Any) -> str:
  text = repr(content)
  return text if len(text) <= 40 else f"{text[:37]}..."
