"""Runs a command: python -m protojax COMMAND, or protojax COMMAND."""

import sys
from typing import NoReturn

from protojax import signals

# A signal that comes during imports ends them in one line.
with signals.handled(signals.leave):
  from protojax import __version__, cli, finding, typed


def main(argv: list[str]) -> int:
  """Runs the command that is named first; returns its exit code."""
  program = typed.program()
  if argv and finding.is_own(argv[0]):
    return cli.run(argv[0], argv[1:], f"{program} {argv[0]}")
  parser = cli.Parser(
    prog=program,
    description="Prototype models: this looks like that, because of what.",
    epilog=f"`{program} COMMAND --help` says more of a command. A command with"
    " a dot in its name, such as mypackage.hello, is a module of your own.",
  )
  parser.add_argument(
    "--version", action="version", version=f"protojax {__version__}"
  )
  commands = parser.add_subparsers(
    dest="command", metavar="COMMAND", required=True
  )
  for name, module in cli.modules().items():
    purpose = cli.purpose(module).replace("%", "%%")
    commands.add_parser(name, help=purpose, add_help=False)
  name = parser.parse_args(argv[:1]).command
  return cli.run(name, argv[1:], f"{program} {name}")


def script() -> NoReturn:
  """The command `protojax`, which comes with the package."""
  signals.finish(main(sys.argv[1:]))


if __name__ == "__main__":
  script()
