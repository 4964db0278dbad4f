"""How every command ends: a user's mistake is one line, never a traceback."""

from collections.abc import Callable
import contextlib
import os
import signal
import sys

from protojax.types import UserError

# What a shell expects of a command that was used wrongly.
EXIT_USER_ERROR = 2


def guarded(main: Callable[[], int | None]) -> int:
  """Runs a command and returns its exit code, whatever ends it.

  A `UserError` is printed on one line and gives 2, Ctrl-C gives 130.
  """
  try:
    status = main() or 0
    sys.stdout.flush()
    return status
  except UserError as error:
    complain(str(error))
    return EXIT_USER_ERROR
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 128 + signal.SIGINT
  except BrokenPipeError:
    # The reader of a pipe, such as `head`, has seen enough. Without this
    # Python would write what is left into the closed pipe, and complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def complain(message: str) -> None:
  """Prints what the one who typed should know, on one line."""
  # It may go to a file on the very disk that is full.
  with contextlib.suppress(OSError):
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
