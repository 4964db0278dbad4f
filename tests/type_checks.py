"""Checks of types by beartype, each made when its function is first called.

pyproject.toml names `lazily`. Made at once, for every function of the package,
they are a third of the time that importing it takes in tests.
"""

from collections.abc import Callable
from typing import Any

import beartype


def lazily(function: Callable) -> Callable:
  """The function with its types checked.

  jaxtyping makes two functions of one of ours and calls one after the other: of
  the parameters, and of the parameters and the result, which is a last keyword.
  The second has only the result left to check, by what the names of axes were
  found to be.
  """
  hints, code = function.__annotations__, function.__code__
  if hints.get("return", Any) is Any:
    return _Lazy(function)
  count = code.co_argcount + code.co_kwonlyargcount
  name = code.co_varnames[count - 1]

  def result(value):
    return value

  result.__annotations__ = {"return": hints["return"]}
  check = _Lazy(result)
  return lambda *args, **kwargs: check(kwargs[name])


class _Lazy:
  """A function that beartype reads at the first call."""

  def __init__(self, function: Callable):
    self._function, self._checked = function, None

  def __call__(self, *args, **kwargs):
    if self._checked is None:
      self._checked = beartype.beartype(self._function)
    return self._checked(*args, **kwargs)
