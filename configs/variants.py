"""Variants of a config, named after its file: `FILE.py:paper,debug`."""

import difflib

from ml_collections import ConfigDict

from protojax.errors import UserError

# What the label of the planted data has for its cause.
PLANTED = {
  name: {"data": {"characteristic": name}}
  for name in ("hue", "shape", "texture", "contrast", "saturation")
}


def apply(config: ConfigDict, names: str, known: dict[str, dict]) -> ConfigDict:
  """The config, locked, with variants put over it in the order given.

  Args:
    config: to be changed.
    names: such as "paper,debug"; '' changes nothing.
    known: what each variant sets.

  Raises:
    UserError: there is no such variant.
  """
  for name in filter(None, names.replace(":", ",").split(",")):
    if name not in known:
      near = difflib.get_close_matches(name, known, 1)
      hint = f". Did you mean {near[0]}?" if near else ""
      raise UserError(
        f"no variant {name!r}; there are {', '.join(known)}{hint}"
      )
    config.update(known[name])
  return config.lock()
