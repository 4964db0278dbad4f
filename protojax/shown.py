"""Values of files in messages: short, however much they hold."""

import reprlib
from typing import Any

_REPR = reprlib.Repr()
_REPR.maxlevel = 2
_REPR.maxstring = _REPR.maxother = 80


def shown(value: Any) -> str:
  """Text of a value for a message, cut at 200 characters.

  In a few bytes a file can describe a list that holds another one twice, and so
  on; its whole text would fill the memory.
  """
  try:
    return f"{_REPR.repr(value):.200}"
  except ValueError:  # a number with thousands of digits
    return f"a {type(value).__name__} that is too long to show"
