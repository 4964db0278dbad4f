"""What the values of a mask mean: which class, or none.

A mask holds a number or a colour for each pixel. Which numbers are classes, and
which of them is void, is told by whoever opens the masks and never guessed: in
some sets void is 0, in others 255.
"""

from collections.abc import Sequence
import dataclasses
import functools

from jaxtyping import Int32, Shaped, UInt8
import numpy as np
from PIL import Image

from protojax import text_files
from protojax.data import images as images_lib
from protojax.types import UserError

# The class of pixels that have none, as in `fields.Classes`.
VOID = 255
_MOST_CLASSES = VOID
_LAST = 1 << 16  # stands for all numbers that 16 bits cannot hold
_UNKNOWN = -1
_INDEXED = frozenset(("P", "L", "1", "I", "I;16", "I;16L", "I;16B", "I;16N"))
_SHOWN = 4  # values in a message
# The line of classes.txt with the colour of pixels that have no class.
_NO_CLASS = "void"

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Coding:
  """The classes of a set of masks.

  Attributes:
    names: of the classes, in their order.
    values: the number of each class in a mask.
    void: numbers that are no class; None: all others.
    colours: the colour of each class, if masks may have colours.
    void_colours: colours that are no class.
    way_out: end of the message about a number that is not expected.
  """

  names: tuple[str, ...]
  values: tuple[int, ...]
  void: tuple[int, ...] | None
  colours: tuple[Colour, ...] = ()
  void_colours: tuple[Colour, ...] = ()
  way_out: str = "unpack the masks again"

  def classes(self, path: str) -> Int32[np.ndarray, "H W"]:
    """The class of each pixel of a mask, `VOID` where there is none.

    Raises:
      ValueError: it cannot be read, or has numbers or colours of no class.
    """
    mode, pixels = _read(path)
    found = self._of_colours(pixels) if mode == "RGB" else self._table[pixels]
    wrong = found == _UNKNOWN
    if wrong.any():
      if mode == "RGB":
        raise ValueError(
          f"it has colours of no class, such as {_some(pixels[wrong])}: write"
          " each class with its colour into classes.txt, as in"
          " road 128 64 128, and void likewise"
        )
      raise ValueError(
        f"it has the values {_some(pixels[wrong][:, None])}, and there are"
        f" {self}: {self.way_out}"
      )
    return found

  def __str__(self) -> str:
    """Such as "11 classes (0 to 10) and void (255)"."""
    first, last = min(self.values), max(self.values)
    text = f"{len(self.names)} classes ({first} to {last})"
    if not self.void:
      return f"{text} and no void"
    return f"{text} and void ({', '.join(map(str, self.void))})"

  @functools.cached_property
  def _table(self) -> Int32[np.ndarray, " v"]:
    table = np.full(
      _LAST + 1, VOID if self.void is None else _UNKNOWN, np.int32
    )
    table[list(self.void or ())] = VOID
    table[list(self.values)] = np.arange(len(self.values))
    return table

  def _of_colours(
    self, pixels: UInt8[np.ndarray, "H W 3"]
  ) -> Int32[np.ndarray, "H W"]:
    if not self.colours:
      raise ValueError(
        "it has colours and no palette: save it as an index PNG, or write each"
        " class with its colour into classes.txt, as in road 128 64 128"
      )
    known = _packed(np.array((*self.colours, *self.void_colours)))
    numbers = [*range(len(self.colours)), *[VOID] * len(self.void_colours)]
    order = np.argsort(known)
    seen = _packed(pixels.astype(np.int64))
    at = np.minimum(np.searchsorted(known[order], seen), len(known) - 1)
    hit = known[order][at] == seen
    classes = np.array(numbers)[order][at]
    return np.where(hit, classes, _UNKNOWN).astype(np.int32)


def numbered(names: Sequence[str], void: int, where: str) -> Coding:
  """Classes that are numbered from 0 in their order, void left out.

  With void 0, the first class is 1.

  Args:
    names: of the classes.
    void: the number of pixels without a class; -1: there are none.
    where: the classes are from, for messages.

  Raises:
    UserError: see `require_names`.
  """
  require_names(names, where)
  free = [v for v in range(len(names) + 1) if v != void][: len(names)]
  return Coding(
    tuple(names),
    tuple(free),
    (void,) if void >= 0 else (),
    way_out="name all classes, or say which value is none with"
    " --config.data.void=VALUE (-1: each is a class)",
  )


def from_file(path: str, void: int) -> Coding:
  """Classes of a file: a line for each, with its colour behind it if known.

  Raises:
    UserError: a line is not as expected, or see `require_names`.
  """
  found: list[tuple[str, Colour | None]] = []
  for number, line in enumerate(text_files.read(path).splitlines(), 1):
    if line.strip():
      found.append(_named(path, number, line))
  classes = [(n, c) for n, c in found if n.lower() != _NO_CLASS or c is None]
  others = tuple(c for n, c in found if n.lower() == _NO_CLASS and c)
  coding = numbered([name for name, _ in classes], void, path)
  colours = tuple(colour for _, colour in classes if colour)
  if colours and len(colours) < len(classes):
    bare = next(name for name, colour in classes if colour is None)
    raise UserError(
      f"{path}: {bare!r} has no colour, and other classes have: give one to"
      " each, or to none"
    )
  all_colours = colours + others
  if len(set(all_colours)) < len(all_colours):
    twice = next(c for c in all_colours if all_colours.count(c) > 1)
    raise UserError(f"{path}: the colour {twice} is there twice")
  return dataclasses.replace(coding, colours=colours, void_colours=others)


def require_names(names: Sequence[str], where: str) -> None:
  """Refuses lists of classes that masks cannot have.

  Raises:
    UserError: there are none, too many, or one is named twice.
  """
  if not names:
    raise UserError(f"{where} names no class")
  if len(names) > _MOST_CLASSES:
    raise UserError(
      f"{where} names {len(names)} classes; at most {_MOST_CLASSES} are read"
    )
  twice = sorted({name for name in names if list(names).count(name) > 1})
  if twice:
    raise UserError(f"{where} names the class {twice[0]!r} twice: rename one")


def size(path: str) -> tuple[int, int]:
  """Height and width of an image, from its header.

  Raises:
    ValueError: it cannot be read.
  """
  try:
    with images_lib.opened(path) as image:
      return image.height, image.width
  except Exception as error:
    raise ValueError(str(error) or type(error).__name__) from error


def _named(path: str, number: int, line: str) -> tuple[str, Colour | None]:
  *words, r, g, b = ["", "", "", *line.split()]
  if words[3:] and all(part.isdecimal() for part in (r, g, b)):
    colour = int(r), int(g), int(b)
    if max(colour) > 255:
      raise UserError(f"{path}, line {number}: {colour} is no colour of 0..255")
    return " ".join(words[3:]), colour
  return line.strip(), None


def _read(path: str) -> tuple[str, Shaped[np.ndarray, "H W *c"]]:
  """Mode and pixels of a mask, numbers as they are stored."""
  try:
    with images_lib.opened(path) as image:
      image.load()
      if image.mode in _INDEXED:
        numbers = np.asarray(image).astype(np.int64)
        # A number that no mask can have is of no class.
        return "P", np.where(np.abs(numbers) > _LAST, _LAST, np.abs(numbers))
      if image.mode in ("RGB", "RGBA"):
        return "RGB", np.asarray(image.convert("RGB"))
      mode = image.mode
  except Image.UnidentifiedImageError as error:
    raise ValueError("not an image that Pillow can read") from error
  except Exception as error:
    raise ValueError(str(error) or type(error).__name__) from error
  raise ValueError(
    f"its pixels are of the kind {mode}; save it as an index PNG"
  )


def _packed(colours: np.ndarray) -> np.ndarray:
  return (colours[..., 0] << 16) + (colours[..., 1] << 8) + colours[..., 2]


def _some(values: np.ndarray) -> str:
  """A few of the values that occur, in words."""
  found = np.unique(values, axis=0).tolist()
  text = ", ".join(
    str(v[0]) if len(v) == 1 else str(tuple(v)) for v in found[:_SHOWN]
  )
  return text + (", ..." if len(found) > _SHOWN else "")
