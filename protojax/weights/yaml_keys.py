"""Reads the keys of a YAML file of others, as data only.

A reader takes each key that it knows by name; the keys left over are unknown.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from protojax import writing
from protojax.types import UserError

_MOST_KEYS = 10_000


class Keys:
  """Dotted names -> values, in the order of the file. Lists are values."""

  def __init__(self, tree: Mapping[str, Any]) -> None:
    self._values = {}
    for name, value in _flat(tree, ""):
      # Aliases may repeat a large value again and again.
      if len(self._values) == _MOST_KEYS:
        raise UserError(f"it has more than {_MOST_KEYS} keys")
      self._values[name] = value

  @classmethod
  def read(cls, path: Path) -> "Keys":
    """Reads a file, without making objects of it.

    Raises:
      UserError: it cannot be read, or holds no keys.
    """
    try:
      tree = yaml.safe_load(path.read_text(encoding="utf-8"))
      if not isinstance(tree, Mapping):
        raise UserError("it holds no keys")
      return cls(tree)
    except (OSError, UserError) as error:
      raise UserError(f"cannot read {path}: {writing.reason(error)}") from error
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


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value
