"""Lists of images with their labels, a line each, in the forms of web data.

google/q0001/1.jpg 0                                  WebVision
google/q0001/1.jpg {"label": 0, "sample_weight": 1.2}      FoPro and SCC
001.Black_footed_Albatross/1.jpg@001.Black_footed_Albatross  few-shot images
"""

from collections.abc import Sequence
import os
from typing import NamedTuple, NotRequired, TypedDict

from protojax import json_files, text_files
from protojax.types import UserError

_EXPECTED = (
  "expected an image and its class: 'a/1.jpg 0', 'a/1.jpg {\"label\": 0}' or"
  " 'a/1.jpg@name of the class'"
)


class _Known(TypedDict):
  """What FoPro and SCC say of an image."""

  label: int
  sample_weight: NotRequired[float]
  conf_score: NotRequired[float]


class Line(NamedTuple):
  """An image of a list.

  Attributes:
    file: path, relative to a folder that the list does not know.
    label: number of the class; -1 if `name` says it.
    name: of the class; '' if `label` says it.
    weight: of the class; 0 if the list has none.
  """

  file: str
  label: int
  name: str
  weight: float


def read(path: str) -> list[Line]:
  """The images of a list.

  Raises:
    UserError: it cannot be read, is empty, or has another line.
  """
  found = []
  text = text_files.read(os.path.expanduser(path))
  for number, line in enumerate(text.splitlines(), 1):
    if line.strip():
      found.append(_line(line.strip(), f"{path}, line {number}"))
  if not found:
    raise UserError(f"{path} lists no image")
  return found


def _line(line: str, where: str) -> Line:
  if line.endswith("}") and " {" in line:
    file, _, rest = line.partition(" {")
    try:
      known = json_files.parsed("{" + rest, _Known)
    except UserError as error:
      raise UserError(f"{where} {error}; {_EXPECTED}") from error
    weight = float(known.get("sample_weight", 0.0))
    return Line(file, known["label"], "", weight)
  if "@" in line:
    file, _, name = line.rpartition("@")
    return Line(file, -1, name, 0.0)
  file, _, label = line.rpartition(" ")
  if not (file and label.isdecimal()):
    raise UserError(f"{where}: {line[:120]!r}; {_EXPECTED}")
  return Line(file.strip(), int(label), "", 0.0)


def labels(
  path: str, lines: Sequence[Line], class_names: Sequence[str]
) -> list[int]:
  """The class of each image of a list.

  Args:
    path: of the list, for messages.
    lines: of the list.
    class_names: index = label.

  Raises:
    UserError: there is no such class.
  """
  known = {name: k for k, name in enumerate(class_names)}
  found = []
  for line in lines:
    label = known.get(line.name, -1) if line.name else line.label
    if not 0 <= label < len(class_names):
      what = repr(line.name) if line.name else line.label
      raise UserError(
        f"{path}: {line.file:.120} is of the class {what}; the"
        f" {len(class_names)} classes are {', '.join(class_names[:4])}"
        f"{', ...' * (len(class_names) > 4)}"
      )
    found.append(label)
  return found
