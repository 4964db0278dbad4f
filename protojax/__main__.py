"""Runs a command: python -m protojax COMMAND."""

import sys

from protojax import cli


def main(argv: list[str]) -> int:
  """Runs the command that is named first; returns its exit code."""
  program = "python -m protojax"
  parser = cli.Parser(
    prog=program,
    description="Prototype models: this looks like that, because of what.",
    epilog=f"`{program} COMMAND --help` says more of a command.",
  )
  commands = parser.add_subparsers(
    dest="command", metavar="COMMAND", required=True
  )
  for name, module in cli.modules().items():
    purpose = cli.purpose(module).replace("%", "%%")
    commands.add_parser(name, help=purpose, add_help=False)
  name = parser.parse_args(argv[:1]).command
  return cli.run(name, argv[1:], f"{program} {name}")


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
