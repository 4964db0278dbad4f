"""Reads JSON of others: one reader for files, lines, and what requests bring.

A type says what is expected, and values are checked against it:

  str, int, float, bool, None   as in JSON; a whole number is a float, too
  list[T], dict[str, T]         all values are T
  T | U, Literal["a", "b"]      one of several
  a TypedDict                   an object with these keys; there may be others
  Any                           anything that is not nested too deep

JSON is taken as RFC 8259 has it: no NaN, no infinity, no key twice in one
object; and no number that Python or NumPy cannot hold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import contextlib
import functools
import json
import math
from pathlib import Path
import re
import types
import typing
from typing import Any

from protojax import text_files
from protojax.errors import UserError
from protojax.shown import shown

# NUL, and halves of characters that stand for no byte of a file name: no path
# and no text in UTF-8 can hold them.
_UNWRITABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
# Levels of lists and objects in what may be anything.
_DEEPEST = 32
_WORDS = {
  str: "a text",
  int: "a whole number",
  float: "a number",
  bool: "true or false",
  type(None): "null",
  list: "a list [...]",
  dict: "an object {...}",
}


def read_json(path: str | Path, expected: Any, way_out: str = "") -> Any:
  """The content of a file.

  Args:
    path: of a regular file in UTF-8.
    expected: type of the content; see above.
    way_out: ends the message about a mistake: what to do.

  Raises:
    UserError: the file cannot be read, is not JSON or not as expected; says
      where.
  """
  try:
    text = text_files.read(path)
  except UserError as error:
    raise _mistake(str(error), way_out) from error
  try:
    return parsed(text, expected)
  except UserError as error:
    raise _mistake(f"{path} {error}", way_out) from error


def read_lines(
  path: str | Path, expected: Any, way_out: str = "", cut: bool = False
) -> Iterator[tuple[int, Any]]:
  """Number and content of each line of a file; empty lines are passed over.

  Args:
    path: of a regular file in UTF-8.
    expected: type of the content of a line; see above.
    way_out: ends the message about a mistake: what to do.
    cut: pass over a last line that is incomplete, as a process leaves it that
      is killed while it writes.

  Raises:
    UserError: the file cannot be read, or a line is not as expected; says
      which.
  """
  for number, line in enumerate(text_files.lines(path), 1):
    if not line.strip():
      continue
    try:
      yield number, parsed(line, expected)
    except UserError as error:
      if cut and not line.endswith(b"\n"):
        return
      raise _mistake(f"{path}, line {number} {error}", way_out) from error


def parsed(text: str | bytes, expected: Any) -> Any:
  """The content of JSON.

  Args:
    text: the JSON; bytes are UTF-8.
    expected: type of the content; see above.

  Raises:
    UserError: it is not JSON or not as expected. The message has no subject:
      "is not valid JSON: ...".
  """
  try:
    if isinstance(text, bytes):
      text = text.decode("utf-8")
    content = json.loads(
      text,
      object_pairs_hook=_object,
      parse_int=_whole,
      parse_float=_number,
      parse_constant=_no_number,
    )
  except RecursionError as error:
    raise UserError("is not valid JSON: it is nested too deep") from error
  except ValueError as error:
    raise UserError(f"is not valid JSON: {error!s:.200}") from error
  try:
    _check(expected)(content)
  except _Fault as fault:
    raise UserError(str(fault)) from fault
  return content


def _mistake(message: str, way_out: str) -> UserError:
  return UserError(f"{message}: {way_out}" if way_out else message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    seen: set[str] = set()
    twice = next(n for n, _ in pairs if n in seen or seen.add(n))
    raise ValueError(f"an object has the key {shown(twice)} twice")
  return found


def _whole(text: str) -> int:
  # Python refuses thousands of digits, NumPy more than 64 bits.
  value = int(text) if len(text) <= 20 else 1 << 64
  if not -(1 << 63) <= value < 1 << 64:
    raise ValueError(f"a number of {len(text)} digits has more than 64 bits")
  return value


def _number(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f"the number {text:.40} is too large")
  return value


def _no_number(text: str) -> float:
  raise ValueError(f"{text} is no number of JSON")


class _Fault(Exception):
  """A value that is not as expected.

  Attributes:
    place: of the value, from the inside to the outside.
  """

  def __init__(self, what: str, rest: str = "") -> None:
    super().__init__(what)
    self.what, self.rest = what, rest
    self.place: list[str | int] = []

  def __str__(self) -> str:
    steps = (
      f"[{step}]" if isinstance(step, int) else f".{shown(step)[1:-1]}"
      for step in reversed(self.place)
    )
    place = "".join(steps).removeprefix(".")
    return f"{self.what}{place and f' at {place}'}{self.rest}"


@functools.cache
def _check(expected: Any) -> Callable[[Any], None]:
  """A function that raises a `_Fault` for a value that is not of a type."""
  origin, of = typing.get_origin(expected), typing.get_args(expected)
  if expected is Any:
    return _check_any
  if origin in (typing.Union, types.UnionType):
    return _one_of(expected, {one: _check(one) for one in of})
  if typing.is_typeddict(expected):
    hints = typing.get_type_hints(expected)
    checks = {name: _check(kind) for name, kind in hints.items()}
    return _keys(expected.__required_keys__, checks)
  if origin is dict:
    return _each(dict, _check(of[1]))
  if origin is list:
    return _each(list, _check(of[0]))
  return functools.partial(_check_kind, expected)


def _check_kind(expected: Any, value: Any) -> None:
  """Checks a value, but not its parts."""
  if not _is(value, expected):
    raise _unexpected(value, expected)
  if isinstance(value, str) and (found := _UNWRITABLE.search(value)):
    raise _Fault(f"has the character {found[0]!a}")


def _each(kind: type, check: Callable[[Any], None]) -> Callable[[Any], None]:
  def each(value: Any) -> None:
    _check_kind(kind, value)
    for name, part in _parts(value):
      try:
        check(part)
      except _Fault as fault:
        fault.place.append(name)
        raise

  return each


def _keys(
  needed: frozenset[str], checks: Mapping[str, Callable[[Any], None]]
) -> Callable[[Any], None]:
  def keys(value: Any) -> None:
    _check_kind(dict, value)
    if missing := sorted(needed - set(value)):
      raise _Fault(f"has no key {missing[0]!r}")
    for name, check in checks.items():
      try:
        check(value[name]) if name in value else None
      except _Fault as fault:
        fault.place.append(name)
        raise

  return keys


def _one_of(
  expected: Any, checks: Mapping[Any, Callable[[Any], None]]
) -> Callable[[Any], None]:
  def one_of(value: Any) -> None:
    near = [check for kind, check in checks.items() if _is(value, kind)]
    if not near:
      raise _unexpected(value, expected)
    for check in near[:-1]:
      with contextlib.suppress(_Fault):
        return check(value)
    return near[-1](value)

  return one_of


def _check_any(value: Any, level: int = 0) -> None:
  if level > _DEEPEST:
    raise _Fault(f"is nested deeper than {_DEEPEST} levels")
  _check_kind(object, value)
  for _, part in _parts(value):
    _check_any(part, level + 1)


def _parts(value: Any) -> Iterable[tuple[str | int, Any]]:
  if isinstance(value, dict):
    return value.items()
  return enumerate(value) if isinstance(value, list) else ()


def _is(value: Any, expected: Any) -> bool:
  """Whether a value is of the kind of a type; parts are not looked at."""
  origin = typing.get_origin(expected)
  if expected is Any:
    return True
  if origin is typing.Literal:
    return value in typing.get_args(expected)
  if expected in (int, float) and isinstance(value, bool):
    return False
  if expected is float:
    return isinstance(value, int | float)
  if typing.is_typeddict(expected):
    return isinstance(value, dict)
  return isinstance(value, origin or expected)


def _unexpected(value: Any, expected: Any) -> _Fault:
  return _Fault(f"holds {shown(value)}", f"; expected {_words(expected)}")


def _words(expected: Any) -> str:
  origin, of = typing.get_origin(expected), typing.get_args(expected)
  if origin is typing.Literal:
    return " or ".join(map(repr, of))
  if origin in (typing.Union, types.UnionType):
    return " or ".join(dict.fromkeys(map(_words, of)))
  return _WORDS[dict if typing.is_typeddict(expected) else origin or expected]
