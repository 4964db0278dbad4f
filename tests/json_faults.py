"""JSON with faults: a right content, changed at a random place."""

import copy
import json
from typing import Any

import numpy as np

# Values that take another's place. Those marked are written as they stand.
_RAW = "\N{SECTION SIGN}"
_VALUES = (
  None,
  True,
  -1,
  0,
  3,
  2.5,
  1e300,
  -(1 << 62),
  "",
  "x",
  "\0",
  "[/red]",
  "../../x",
  "\ud800",
  "x" * 5000,
  [],
  {},
  [[]],
  {"": {}},
  [None],
  f"{_RAW}NaN",
  f"{_RAW}-Infinity",
  f"{_RAW}1e999",
  f"{_RAW}{'9' * 5000}",
  f"{_RAW}{'9' * 25}",
  f"{_RAW}{'[' * 100_000}",
  f"{_RAW}{'[' * 60}{']' * 60}",
  f'{_RAW}{{"a": 1, "a": 2}}',
  f"{_RAW}",
)


def faulty(right: Any, draw: np.random.Generator) -> bytes:
  """The bytes of a content with up to two faults."""
  content = copy.deepcopy(right)
  for _ in range(draw.integers(1, 3)):
    content = _changed(content, draw)
  text = json.dumps(content)
  for value in _VALUES:
    if isinstance(value, str) and value.startswith(_RAW):
      text = text.replace(json.dumps(value), value[len(_RAW) :])
  data = text.encode()
  match draw.integers(12):
    case 0:
      return data[: draw.integers(len(data) + 1)]
    case 1:
      at = draw.integers(len(data) + 1)
      return data[:at] + bytes([draw.integers(256)]) + data[at:]
    case _:
      return data


def _changed(content: Any, draw: np.random.Generator) -> Any:
  """The content with a part replaced, removed, doubled or added."""
  parts = list(_places(content))
  holder, key = parts[draw.integers(len(parts))] if parts else (None, None)
  value = copy.deepcopy(_VALUES[draw.integers(len(_VALUES))])
  kind = draw.integers(8)
  if holder is None or kind == 0:
    return value
  if kind == 1:
    del holder[key]
  elif kind == 2 and isinstance(holder, dict):
    holder[("", "x", "a.b", "items", "\0", key)[draw.integers(6)]] = value
  elif kind == 3 and isinstance(holder, list):
    holder.append(value)
  else:
    holder[key] = value
  return content


def _places(content: Any):
  """(holder, key) of every part."""
  keys = (
    list(content)
    if isinstance(content, dict)
    else range(len(content))
    if isinstance(content, list)
    else ()
  )
  for key in keys:
    yield content, key
    yield from _places(content[key])
