"""Reads the keys of a YAML file of others, as data only.

A reader takes each key that it knows by name; the keys left over are unknown.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from protojax import text_files
from protojax.types import UserError

_MOST_KEYS = 10_000
_LONGEST_NAME = 1000
_LARGEST = 256 << 10  # bytes of a file; those of CaBRNet have 5 KB
_MERGE = "tag:yaml.org,2002:merge"


class Keys:
  """Dotted names -> values, in the order of the file. Lists are values."""

  def __init__(self, tree: Mapping[str, Any]) -> None:
    _check(tree)
    self._values = dict(_flat(tree, ""))

  @classmethod
  def read(cls, path: Path) -> "Keys":
    """Reads a file, without making objects of it.

    Raises:
      UserError: it cannot be read, or holds no keys.
    """
    text = text_files.read(path, _LARGEST)
    try:
      tree = yaml.load(text, _Loader)
      if not isinstance(tree, Mapping):
        raise UserError("it holds no keys")
      return cls(tree)
    except UserError as error:
      raise UserError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
      raise UserError(
        f"{path} is no YAML: {' '.join(str(error).split()):.200}"
      ) from error

  def take(self, name: str, default: Any = None) -> Any:
    """The value of a key, which is then no longer left over."""
    return self._values.pop(name, default)

  def value(self, name: str) -> Any:
    """The value of a key, which stays left over; None without such a key."""
    return self._values.get(name)

  def has(self, name: str) -> bool:
    """True if there is such a key."""
    return name in self._values

  def below(self, name: str) -> list[str]:
    """Names of the keys one level below a name, in order."""
    prefix = f"{name}."
    found = (
      prefix + key.removeprefix(prefix).partition(".")[0]
      for key in self._values
      if key.startswith(prefix)
    )
    return list(dict.fromkeys(found))

  def left(self) -> dict[str, Any]:
    """The keys that were not taken."""
    return dict(self._values)


class _Loader(yaml.SafeLoader):
  """Makes plain data; counts the keys that merges (`<<: *alias`) repeat."""

  merged = 0

  def flatten_mapping(self, node: yaml.MappingNode) -> None:
    for key, value in node.value:
      if key.tag != _MERGE:
        continue
      several = isinstance(value, yaml.SequenceNode)
      for part in value.value if several else [value]:
        if isinstance(part, yaml.MappingNode):
          self.flatten_mapping(part)
        self.merged += len(part.value)
        if self.merged > _MOST_KEYS:
          raise UserError(f"it has more than {_MOST_KEYS} keys")
    super().flatten_mapping(node)


def _check(tree: Mapping[str, Any]) -> None:
  """Refuses what aliases make large, and numbers that cannot be written."""
  left: list[Any] = [tree]
  items = letters = 0
  while left:
    value = left.pop()
    if isinstance(value, Mapping):
      items += len(value)
      left += [*value, *value.values()]
    elif isinstance(value, list | tuple | set):
      items += len(value)
      left += value
    elif isinstance(value, str | bytes):
      letters += len(value)
    elif isinstance(value, int) and value.bit_length() > 64:
      raise UserError("it has a number with more than 64 bits")
    if items > _MOST_KEYS or letters > _LARGEST:
      raise UserError(
        f"it has more than {_MOST_KEYS} keys and items, or {_LARGEST >> 10} KB"
        " of text, with all its aliases written out"
      )


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    name = f"{prefix}{key}"
    if len(name) > _LONGEST_NAME:
      raise UserError(f"the key {name:.80}... is too long")
    if isinstance(value, Mapping):
      yield from _flat(value, f"{name}.")
    else:
      yield name, value
