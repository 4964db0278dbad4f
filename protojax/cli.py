"""The commands: how one is found by its name, parsed, and ended.

A command is a module of `protojax.commands` with `arguments(parser)` and
`run(args)`; its docstring is its help. A dotted name is a user's own module. A
command is imported when it is called and not before, so that `--help` answers
at once. A user's mistake is one line, never a traceback.
"""

import argparse
import ast
from collections.abc import Callable
import errno
import importlib
import importlib.util
import math
import os
import pkgutil
from typing import Any, NoReturn

from protojax import (
  commands,
  finding,
  installed,
  printing,
  signals,
  typed,
  writing,
)
from protojax.errors import UserError
from protojax.shown import shown
from protojax.writing import reason

# What a shell expects of a command that was used wrongly.
EXIT_USER_ERROR = 2


class Parser(argparse.ArgumentParser):
  """Says on one line what was typed wrongly, and guesses no abbreviation."""

  def __init__(self, **options: Any) -> None:
    super().__init__(allow_abbrev=False, **options)

  def error(self, message: str) -> NoReturn:
    """Ends the command."""
    complain(f"{message} (see --help)")
    self.exit(EXIT_USER_ERROR)


def modules() -> dict[str, str]:
  """Command -> its module: "import-config" -> "import_config"."""
  return {
    module.name.rstrip("_").replace("_", "-"): module.name
    for module in pkgutil.iter_modules(commands.__path__)
  }


def purpose(module: str) -> str:
  """The first line of the docstring of a command, which is not imported."""
  spec = importlib.util.find_spec(f"{commands.__name__}.{module}")
  if spec is None or spec.origin is None:
    return ""
  with open(spec.origin, encoding="utf-8") as file:
    text = file.read()
  if not text.startswith('"""'):
    return ""
  # To parse the code as well would take longer than all the rest, and so would
  # the module `inspect`, which cleans docstrings.
  tree = ast.parse(text[: text.find('"""', 3) + 3])
  return (ast.get_docstring(tree, clean=False) or "").partition("\n")[0]


def run(name: str, argv: list[str], program: str) -> int:
  """Calls `run(args)` of protojax/commands/NAME.py; returns its exit code.

  Args:
    name: of the command, or of a user's own module, with a dot.
    argv: what was typed after the name.
    program: what was typed before; `--help` shows it.
  """

  def main() -> int | None:
    # Libraries turn exceptions in the midst of an import into others.
    with signals.handled(signals.leave):
      installed.require()
      module, args = parse(name, argv, program)
    return module.run(args)

  return guarded(main)


def operation(name: str) -> Any:
  """The module of `protojax.operations` that does the work of a command.

  It is imported now, and not with the command, so that `--help` answers at
  once.
  """
  with signals.handled(signals.leave):
    return importlib.import_module(f"protojax.operations.{name}")


def parse(
  name: str, argv: list[str], program: str = ""
) -> tuple[Any, argparse.Namespace]:
  """The module of a command, and its arguments.

  A command that reads some arguments by itself, as `train` reads
  `--config.key=value`, sets a default for `args.undeclared`: it becomes the
  list of those that `arguments` does not declare.

  Raises:
    UserError: there is no such module of the user's own, or it is no command.
  """
  if finding.is_own(name):
    module = finding.own(name, ("arguments", "run"), "the command")
  else:
    module = importlib.import_module(f"{commands.__name__}.{modules()[name]}")
  parser = Parser(
    prog=program,
    description=typed.here(module.__doc__ or ""),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  module.arguments(parser)
  _refuse_empty(parser, argv)
  args, undeclared = parser.parse_known_args(argv)
  if "undeclared" in args:
    args.undeclared = undeclared
  elif undeclared:
    parser.error(f"unrecognized arguments: {' '.join(undeclared)}")
  return module, args


def _refuse_empty(parser: Parser, argv: list[str]) -> None:
  """A value that is empty, as of a variable that is not set, is no default."""
  for before, word in zip(["", *argv], argv, strict=False):
    flag, equals, value = word.partition("=")
    # A key of a config may be empty: nothing is augmented, for one.
    if flag.startswith("--config."):
      continue
    if flag.startswith("--") and equals and not value:
      parser.error(f"{flag} has an empty value: give one, or leave it out")
    if not word:
      after = f" after {shown(before)}" if before else ""
      parser.error(f"the argument{after} is empty: give one, or leave it out")


def add_workdir(parser: argparse.ArgumentParser) -> None:
  """Declares `--workdir` of a command that reads a trained run."""
  parser.add_argument(
    "--workdir",
    default="",
    type=path,
    metavar="DIR",
    help="folder of the run; the newest one under runs/ by default",
  )


def whole_number(least: int, most: int = 10**9) -> Callable[[str], int]:
  """The `type` of an argument that is a whole number from `least` to `most`."""

  def read(text: str) -> int:
    # A short one: Python refuses to convert thousands of digits.
    whole = text.isdecimal() and len(text) <= len(str(most))
    if not whole or not least <= int(text) <= most:
      raise argparse.ArgumentTypeError(
        f"{shown(text)} is not a whole number from {least} to {most:,}"
      )
    return int(text)

  return read


def number(most: float) -> Callable[[str], float]:
  """The `type` of an argument that is a number from 0 to `most`."""

  def read(text: str) -> float:
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    if not 0 <= value <= most:
      raise argparse.ArgumentTypeError(
        f"{shown(text)} is not a number from 0 to {most:g}"
      )
    return value

  return read


def size(text: str) -> tuple[int, int]:
  """The `type` of an argument that is a height and a width, as 368x1240."""
  sides = text.lower().split("x")
  if len(sides) != 2 or not all(s.isdecimal() and int(s) > 0 for s in sides):
    raise argparse.ArgumentTypeError(
      f"{shown(text)} is no size: give height and width, such as 368x1240"
    )
  return int(sides[0]), int(sides[1])


def at_home(text: str) -> str:
  """The `type` of an argument that may be a path: `~` is the home folder.

  A shell leaves it as it is behind the sign of equality, in `--workdir=~/run`.
  """
  found = os.path.expanduser(text)
  if found.startswith("~"):
    user = found.partition("/")[0]
    raise argparse.ArgumentTypeError(
      f"there is no user {shown(user[1:])}; a folder of that name is"
      f" {shown(f'./{user}')}"
    )
  return found


def path(text: str) -> str:
  """The `type` of an argument that is a path, there or not; see `at_home`."""
  found = at_home(text)
  if text.isspace():
    raise argparse.ArgumentTypeError(f"{shown(text)} cannot be a path")
  try:
    os.lstat(found)
  except (OSError, ValueError) as error:
    # Other errors are of what is there, and whoever opens it knows more.
    of_name = getattr(error, "errno", errno.EINVAL)
    if of_name in (errno.EINVAL, errno.ENAMETOOLONG):
      raise argparse.ArgumentTypeError(
        f"{shown(found)} cannot be a path: {reason(error)}"
      ) from error
  return found


def guarded(main: Callable[[], int | None]) -> int:
  """Calls `main` and returns its exit code, whatever ends it.

  A `UserError`, output that cannot be written, and a folder or file of somebody
  else, is printed on one line and gives 2. Ctrl-C gives 130, another signal 128
  and its number, a closed pipe 141.
  """
  with printing.streams(), printing.warnings_as_lines():
    try:
      with signals.handled(signals.stop):
        status = main() or 0
        printing.flush_output()
        return status
    except UserError as error:
      complain(str(error))
      return EXIT_USER_ERROR
    except KeyboardInterrupt as error:
      number = signals.taken(error)
      printing.tell(signals.described(number))
      return 128 + number
    except BrokenPipeError:
      # The reader of a pipe, such as `head`, has seen enough.
      return 128 + signals.PIPE
    except PermissionError as error:
      # Wherever a folder is listed, or a file in it looked for.
      complain(f"{error.filename or 'a file'}: {reason(error)}; ask its owner")
      return EXIT_USER_ERROR
    except OSError as error:
      # Files are written by `writing`, and have names.
      if error.filename is not None or not writing.of_the_disk(error):
        raise
      complain(str(writing.failure("standard output", error)))
      return EXIT_USER_ERROR


def complain(message: str) -> None:
  """Prints a message to the user on one line."""
  printing.tell(f"error: {printing.one_line(message)}")
