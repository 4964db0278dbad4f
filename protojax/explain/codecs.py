"""Codecs: values to JSON and back, with the JSON Schema of what is written.

A codec of a whole is made of the codecs of its parts, so that writer, reader
and schema cannot disagree. `documents` says which classes are written how. A
reader says in one line where a document is not as expected.
"""

from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import Any

import numpy as np

from protojax.types import UserError

Json = Any


@dataclasses.dataclass(frozen=True)
class Codec:
  """How a value is written, read and described.

  Attributes:
    write: value -> JSON.
    read: JSON, place in the document -> value; raises UserError.
    schema: JSON Schema of what is written.
    named: name -> schema, for each part that `schema` refers to by name.
    derived: the value follows from others, so it is not read back.
  """

  write: Callable[[Any], Json]
  read: Callable[[Json, str], Any]
  schema: Mapping[str, Any]
  named: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  derived: bool = False


def wrong(where: str, found: Json, expected: str) -> UserError:
  """The error to raise for a part of a document."""
  shown = repr(found)
  if len(shown) > 60:
    shown = f"{shown[:57]}..."
  return UserError(f"{where or 'the document'} is {shown}; expected {expected}")


def checked(
  expected: str,
  types: tuple[type, ...],
  schema: Mapping[str, Any],
  write: Callable[[Any], Json] = lambda value: value,
  make: Callable[[Json], Any] = lambda value: value,
) -> Codec:
  """A value of a few JSON types.

  Args:
    expected: what it is, in words.
    types: of JSON values that may stand for it.
    schema: of it.
    write: value -> JSON.
    make: JSON -> value; raises ValueError if it is none.
  """

  def read(value: Json, where: str) -> Any:
    # True and False are integers in Python, but not in JSON.
    if not isinstance(value, types) or (
      isinstance(value, bool) and bool not in types
    ):
      raise wrong(where, value, expected)
    try:
      return make(value)
    except (ValueError, OverflowError) as error:
      raise wrong(where, value, expected) from error

  return Codec(write, read, schema)


def _whole(value: Json) -> int:
  if value != int(value):
    raise ValueError
  return int(value)


def _number(value: Any) -> float | None:
  return float(value) if math.isfinite(value) else None


def _cell(value: Any) -> Json:
  if value is None or isinstance(value, str | bool | int):
    return value
  if isinstance(value, np.bool_ | np.integer):
    return value.item()
  return _number(value)


_NULLABLE = {"type": ["number", "null"]}

TEXT = checked("a text", (str,), {"type": "string"})
FLAG = checked("true or false", (bool,), {"type": "boolean"}, bool)
WHOLE = checked(
  "a whole number", (int, float), {"type": "integer"}, int, _whole
)
# null stands for nan and for infinities, which JSON does not have.
NUMBER = checked(
  "a number or null",
  (int, float, type(None)),
  _NULLABLE,
  _number,
  lambda value: math.nan if value is None else float(value),
)
CELL = checked(
  "a text, a number, true, false or null",
  (str, int, float, bool, type(None)),
  {"type": ["string", "number", "boolean", "null"]},
  _cell,
)
TEXT_OR_NUMBER = checked(
  "a text, a number or null",
  (str, int, float, type(None)),
  {"type": ["string", "number", "null"]},
  lambda value: value if isinstance(value, str) else _number(value),
  lambda value: math.nan if value is None else value,
)


def derived(codec: Codec) -> Codec:
  """A value that is written for readers, but follows from others."""
  return dataclasses.replace(codec, derived=True)


def described(codec: Codec, description: str) -> Codec:
  """The same with a description in the schema."""
  schema = {**codec.schema, "description": description}
  return dataclasses.replace(codec, schema=schema)


def matching(pattern: str) -> Codec:
  """A text that matches a regular expression; the caller checks it."""
  return dataclasses.replace(TEXT, schema={**TEXT.schema, "pattern": pattern})


def one_of(*names: str) -> Codec:
  """One of a few texts."""

  def read(value: Json, where: str) -> str:
    if value not in names:
      raise wrong(where, value, f"one of {', '.join(names)}")
    return value

  return Codec(lambda value: value, read, {"enum": list(names)})


def optional(codec: Codec) -> Codec:
  """A value or None, which is null."""
  return dataclasses.replace(
    codec,
    write=lambda value: None if value is None else codec.write(value),
    read=lambda value, where: (
      None if value is None else codec.read(value, where)
    ),
    schema={"anyOf": [codec.schema, {"type": "null"}]},
  )


def many(codec: Codec, make: Callable[[Any], Any] = tuple) -> Codec:
  """A sequence of values of one kind, made by `make` when it is read."""

  def read(value: Json, where: str) -> Any:
    return make(
      [
        codec.read(one, f"{where}[{n}]")
        for n, one in enumerate(_list(value, where))
      ]
    )

  return Codec(
    lambda values: [codec.write(value) for value in values],
    read,
    {"type": "array", "items": codec.schema},
    codec.named,
  )


def by_name(codec: Codec) -> Codec:
  """A mapping of names to values of one kind."""

  def read(value: Json, where: str) -> dict[str, Any]:
    return {
      name: codec.read(one, _inside(where, name))
      for name, one in _object(value, where).items()
    }

  return Codec(
    lambda values: {name: codec.write(one) for name, one in values.items()},
    read,
    {"type": "object", "additionalProperties": codec.schema},
    codec.named,
  )


def row(make: Callable[..., Any], codec: Codec, count: int) -> Codec:
  """A named tuple of `count` values of one kind, written as a list."""

  def read(value: Json, where: str) -> Any:
    if len(_list(value, where)) != count:
      raise wrong(where, value, f"a list of {count}")
    return make(
      *(codec.read(one, f"{where}[{n}]") for n, one in enumerate(value))
    )

  schema = {
    "type": "array",
    "items": codec.schema,
    "minItems": count,
    "maxItems": count,
  }
  return Codec(lambda value: list(map(codec.write, value)), read, schema)


def record(
  make: Callable[..., Any],
  name: str,
  keys: Mapping[str, Codec],
  constants: Mapping[str, str] | None = None,
) -> Codec:
  """An object with a few attributes.

  Args:
    make: makes it of its attributes by name.
    name: of its schema.
    keys: of the JSON object; "key=attribute" where the two differ.
    constants: keys that always have the same text, put first.
  """
  constants = constants or {}
  parts = {
    key: (attribute or key, codec)
    for (key, _, attribute), codec in (
      (names.partition("="), codec) for names, codec in keys.items()
    )
  }

  def write(value: Any) -> Json:
    own = {k: c.write(getattr(value, a)) for k, (a, c) in parts.items()}
    return {**constants, **own}

  def read(value: Json, where: str) -> Any:
    every = (*constants, *parts)
    for key in every:
      if key not in _object(value, where):
        raise wrong(where, value, f"an object with the key {key!r}")
    for key in value:
      if key not in every:
        expected = f"no key but {', '.join(every)}"
        raise wrong(f"a key of {where or 'the document'}", key, expected)
    for key, text in constants.items():
      if value[key] != text:
        raise wrong(_inside(where, key), value[key], repr(text))
    found = {}
    for key, (attribute, codec) in parts.items():
      one = codec.read(value[key], _inside(where, key))
      if not codec.derived:
        found[attribute] = one
    try:
      return make(**found)
    except ValueError as error:
      raise UserError(f"{where or 'the document'}: {error}") from error

  schema = {
    "type": "object",
    "properties": {
      **{key: {"const": text} for key, text in constants.items()},
      **{key: dict(codec.schema) for key, (_, codec) in parts.items()},
    },
    "required": [*constants, *parts],
    "additionalProperties": False,
  }
  named = {name: schema}
  for _, codec in parts.values():
    named.update(codec.named)
  return Codec(write, read, {"$ref": f"#/$defs/{name}"}, named)


def kinds(codecs: Mapping[type, tuple[str, Codec]]) -> Codec:
  """An object of one of several classes, told apart by its key "kind"."""
  by_kind = dict(codecs.values())

  def read(value: Json, where: str) -> Any:
    kind = _object(value, where).get("kind")
    if not isinstance(kind, str) or kind not in by_kind:
      expected = f"one of {', '.join(by_kind)}"
      raise wrong(_inside(where, "kind"), kind, expected)
    return by_kind[kind].read(value, where)

  named: dict[str, Any] = {}
  for codec in by_kind.values():
    named.update(codec.named)
  return Codec(
    lambda value: codecs[type(value)][1].write(value),
    read,
    {"oneOf": [codec.schema for codec in by_kind.values()]},
    named,
  )


def _inside(where: str, key: str) -> str:
  return f"{where}.{key}" if where else key


def _list(value: Json, where: str) -> list[Json]:
  if not isinstance(value, list):
    raise wrong(where, value, "a list")
  return value


def _object(value: Json, where: str) -> dict[str, Json]:
  if not isinstance(value, dict):
    raise wrong(where, value, "an object")
  return value


def numbers(dims: int) -> Codec:
  """An array of floats as nested lists; null for nan and for infinities."""
  items, part = _NULLABLE, NUMBER
  for _ in range(dims):
    items = {"type": "array", "items": items}
    part = many(part, list)

  def read(value: Json, where: str) -> np.ndarray:
    nested = part.read(value, where)
    try:
      found = np.array(nested, float)
    except ValueError as error:
      raise wrong(where, value, "rows of one length") from error
    # Lists without numbers do not say how long their rows would be.
    return found if found.size else found.reshape((0,) * dims)

  return Codec(lambda values: _nested(np.asarray(values).tolist()), read, items)


def _nested(values: list | float) -> Json:
  if isinstance(values, list):
    return [_nested(value) for value in values]
  return _number(values)
