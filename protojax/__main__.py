"""The commands beside train.py and explain.py: python -m protojax COMMAND.

A command is a module with `arguments(parser)` and `run(args)`. It is imported
when it is called and not before, so that --help answers at once.
"""

import argparse
import functools
import importlib
import sys
from typing import NoReturn

# Name -> its module, and what --help says of it.
_COMMANDS = {
  "evaluate": (
    "protojax.commands.evaluate",
    "judge models and compare methods",
  ),
  "predict": (
    "protojax.commands.predict",
    "name the classes or defects of images",
  ),
  "interact": (
    "protojax.commands.interact",
    "tell a concept model where to look, and see what it says then",
  ),
  "export": (
    "protojax.commands.export",
    "write a model for use without protojax",
  ),
  "import": (
    "protojax.commands.import_",
    "take over a model of ProtoPNet or CaBRNet",
  ),
  "import-config": (
    "protojax.commands.import_config",
    "turn CaBRNet's YAML files into one config",
  ),
  "prepare": (
    "protojax.commands.prepare",
    "turn a folder of images into one data set",
  ),
}


def main(argv: list[str]) -> int:
  """Runs one command and returns its exit code."""
  module, args = _parse(argv)
  # Imported late: it brings JAX along, which takes a second.
  from protojax import cli

  return cli.guarded(functools.partial(module.run, args))


class _Parser(argparse.ArgumentParser):
  """Says on one line what was typed wrongly, as train.py does."""

  def error(self, message: str) -> NoReturn:
    self.exit(2, f"error: {message} (see --help)\n")


def _parse(argv: list[str]):
  """The module of the command that was named, and its arguments."""
  program = "python -m protojax"
  parser = _Parser(
    prog=program,
    description="Prototype models: this looks like that, because of what.",
    epilog=f"`{program} COMMAND --help` says more of a command. Models are"
    " trained with `python train.py` and explained with `python explain.py`.",
  )
  commands = parser.add_subparsers(
    dest="command", metavar="COMMAND", required=True
  )
  for name, (_, purpose) in _COMMANDS.items():
    commands.add_parser(name, help=purpose, add_help=False)
  name = parser.parse_args(argv[:1]).command

  module = importlib.import_module(_COMMANDS[name][0])
  parser = _Parser(
    prog=f"{program} {name}",
    description=module.__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  module.arguments(parser)
  return module, parser.parse_args(argv[1:])


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
