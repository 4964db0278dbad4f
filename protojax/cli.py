"""How every command ends: a user's mistake is one line, never a traceback."""

from collections.abc import Callable
import sys

from protojax.types import UserError

# What a shell expects of a command that was used wrongly.
EXIT_USER_ERROR = 2


def guarded(main: Callable[[], int | None]) -> int:
  """Runs a command; prints a `UserError` as one line and returns 2."""
  try:
    return main() or 0
  except UserError as error:
    complain(str(error))
    return EXIT_USER_ERROR


def complain(message: str) -> None:
  """Prints what the one who typed should know, on one line."""
  print(f"error: {' '.join(message.split())}", file=sys.stderr)
