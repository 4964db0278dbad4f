"""Variants of a config, named after its file: `FILE.py:paper,debug`."""

from ml_collections import ConfigDict

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
    ValueError: there is no such variant.
  """
  for name in filter(None, names.replace(":", ",").split(",")):
    if name not in known:
      raise ValueError(f"no variant {name!r}; there are {', '.join(known)}")
    config.update(known[name])
  return config.lock()
