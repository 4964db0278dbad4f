"""Translating: the config of other code -> a config of ours."""

import argparse
from pathlib import Path
from types import ModuleType

from protojax import methods, printing
from protojax.shown import shown
from protojax.types import UserError
from protojax.weights.yaml_keys import Keys
from protojax.writing import replacing

_ARCHITECTURE = "model_arch.yml"


def run(args: argparse.Namespace) -> int:
  """Writes the config; prints to stderr which keys were left out.

  Raises:
    UserError: a file cannot be read, or asks for something that protojax does
      not have.
  """
  output = Path(args.output)
  if output.suffix != ".py" or output.exists():
    raise UserError(f"--output={output} must be a new file that ends in .py")
  translator = _translator(Path(args.folder) / _ARCHITECTURE)
  changes, left = {}, []
  for name, translate in translator.FILES.items():
    path = Path(args.folder) / name
    keys = Keys.read(path)
    try:
      changes |= translate(keys)
    except UserError as error:
      raise UserError(f"cannot import {path}: {error}") from error
    left += [
      f"{name}: no counterpart of {key}: {value!r}"
      for key, value in keys.left().items()
      if not translator.matches(key, value)
    ]
  lines = "".join(f"  {key!r}: {value!r},\n" for key, value in changes.items())
  with replacing(output) as file:
    file.write(translator.TEXT.format(changes=lines))
  for line in left:
    printing.tell(line[:200])
  printing.tell(
    f"written: {output}, {len(changes)} keys; without a counterpart:"
    f" {len(left)}"
  )
  return 0


def _translator(path: Path) -> ModuleType:
  """The module `foreign_config` of the method that a file describes."""
  keys, known = Keys.read(path), methods.parts("foreign_config")
  for module in known.values():
    if module.recognised(keys):
      return module
  name = keys.value("top_arch.name")
  raise UserError(
    f"cannot import {path}: top_arch.name is {shown(name)}; configs can be"
    f" translated for {', '.join(known)} only"
  )
