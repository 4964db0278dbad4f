"""Pictures that simulated users want, from files of captions.

Three layouts are read, by what stands in them:

- DesignBench (Hahn et al., arXiv 2412.06771): JSON whose entries have a
  "short_description" and a "long_description";
- captions of COCO (Lin et al., arXiv 1405.0312): JSON with "images" and
  "annotations";
- ImageInWords (Garg et al., arXiv 2405.02793): a line of JSON for each image,
  with "IIW" and "image/key".
"""

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from protojax import json_files, text_files
from protojax.types import UserError

_LAYOUTS = "DesignBench, captions of COCO or lines of ImageInWords"


class Goal(NamedTuple):
  """What a user wants.

  Attributes:
    name: of the entry.
    prompt: what the user says first; "" if the file does not tell.
    description: of the whole picture.
  """

  name: str
  prompt: str
  description: str


class _Design(TypedDict):
  short_description: str
  long_description: str


class _Annotation(TypedDict):
  image_id: int
  caption: str


class _COCO(TypedDict):
  annotations: list[_Annotation]


_IIW = TypedDict("_IIW", {"IIW": str, "image/key": NotRequired[str]})


def read(path: str | Path, most: int | None = None) -> list[Goal]:
  """The goals of a file, in its order.

  Args:
    path: of the file.
    most: goals at the most.

  Raises:
    UserError: it is of no known layout, or has no goal.
  """
  text = text_files.read(path)
  if _is_lines(text):
    found = list(_in_words(path))
  else:
    content = json_files.read_json(path, Any)
    if isinstance(content, dict) and "annotations" in content:
      found = list(_coco(json_files.read_json(path, _COCO)))
    else:
      found = list(_designs(path, content))
  found = [
    Goal(goal.name, " ".join(goal.prompt.split()), goal.description.strip())
    for goal in found
    if goal.description.strip()
  ]
  if not found:
    raise UserError(f"{path} has no caption: expected {_LAYOUTS}")
  return found[:most]


def _is_lines(text: str) -> bool:
  """Whether each line is an object of its own, as of ImageInWords."""
  first, _, rest = text.lstrip().partition("\n")
  return (
    first.rstrip().endswith("}")
    and '"IIW"' in first
    and (not rest.strip() or rest.lstrip().startswith("{"))
  )


def _in_words(path: str | Path) -> Iterator[Goal]:
  for number, line in json_files.read_lines(path, _IIW):
    yield Goal(line.get("image/key", str(number)), "", line["IIW"])


def _coco(content: _COCO) -> Iterator[Goal]:
  """The shortest caption of an image is the prompt, all are the goal."""
  captions: dict[int, list[str]] = {}
  for one in content["annotations"]:
    caption = one["caption"].strip()
    if caption:
      captions.setdefault(one["image_id"], []).append(caption)
  for image, said in captions.items():
    whole = " ".join(c if c[-1] in ".!?" else f"{c}." for c in said)
    yield Goal(str(image), min(said, key=len), whole)


def _designs(path: str | Path, content: Any) -> Iterator[Goal]:
  entries = (
    (content.items() if isinstance(content, dict) else enumerate(content))
    if isinstance(content, dict | list)
    else ()
  )
  for name, entry in entries:
    try:
      one: _Design = json_files.parsed(json.dumps(entry), _Design)
    except UserError as error:
      raise UserError(
        f"{path} {error}, entry {str(name)[:40]!r}; expected {_LAYOUTS}"
      ) from error
    index = entry.get("index", name)
    yield Goal(str(index), one["short_description"], one["long_description"])
