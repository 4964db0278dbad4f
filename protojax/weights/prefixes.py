"""Names that wrappers of a model put before the names of all its tensors.

torch.compile writes `_orig_mod.`, DataParallel `module.`; training scripts that
keep the model as an attribute write `model.` or `net.`.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

_PREFIXES = ("_orig_mod.", "module.", "model.", "net.")
_OTHERS = 3  # names in a message

_T = TypeVar("_T")


def bare(tensors: Mapping[str, _T]) -> dict[str, _T]:
  """The tensors without the prefixes that all of their names share."""
  found = dict(tensors)
  while found:
    shared = [p for p in _PREFIXES if all(name.startswith(p) for name in found)]
    if not shared:
      break
    found = {name.removeprefix(shared[0]): x for name, x in found.items()}
  return found


def hint(names: Iterable[str]) -> str:
  """Words on a prefix that some names have and others lack, else ''.

  A message begins with them.
  """
  names = list(names)
  for prefix in _PREFIXES:
    others = [name for name in names if not name.startswith(prefix)]
    if others and len(others) < len(names):
      first = ", ".join(f"{name:.60}" for name in others[:_OTHERS])
      return (
        f"{len(names) - len(others)} of {len(names)} names begin with"
        f" {prefix!r}, which is left out only if all do; save the model"
        f" without the others ({first}{', ...' * (len(others) > _OTHERS)}): "
      )
  return ""
