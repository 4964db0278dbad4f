"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP."""

import atexit
from collections.abc import Callable, Iterator
import contextlib
import functools
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

from protojax import printing

PIPE = signal.SIGPIPE
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


class Stopped(KeyboardInterrupt):
  """A signal ends the command; libraries clean up after a KeyboardInterrupt."""

  def __init__(self, number: int) -> None:
    super().__init__(described(number))
    self.number = number


@contextlib.contextmanager
def handled(handler: Handler) -> Iterator[None]:
  """Has a handler for signals that end a command; the earlier ones come back.

  A signal that is ignored stays so: that of a terminal that closes by `nohup`,
  Ctrl-C by a shell for what it starts in the background. Only the main thread
  can have handlers.
  """
  before = {}
  if threading.current_thread() is threading.main_thread():
    before = {n: signal.getsignal(n) for n in ENDING}
  before = {n: h for n, h in before.items() if h is not signal.SIG_IGN}
  for number in before:
    signal.signal(number, handler)
  unraisable = sys.unraisablehook
  sys.unraisablehook = hook = functools.partial(_again, unraisable)
  try:
    yield
  finally:
    # A later hook stays: after a failure it keeps Orbax's threads quiet.
    if sys.unraisablehook is hook:
      sys.unraisablehook = unraisable
    for number, earlier in before.items():
      # After the first signal, a second one must not wait for anything.
      if signal.getsignal(number) is handler:
        signal.signal(number, earlier)


def stop(number: int, frame: FrameType | None) -> NoReturn:
  """A handler that ends the command, which cleans up; the next one waits not.

  Raises:
    Stopped: always.
  """
  del frame
  for each in ENDING:
    if signal.getsignal(each) is stop:
      signal.signal(each, leave)
  raise Stopped(number)


def _again(tell: Callable[[Any], Any], found: Any) -> None:
  """Sends a signal again that Python dropped, and tells of other errors.

  An exception ends in the finaliser or callback of the garbage collector that
  it happens to be raised in, of which JAX has one, and the command would go on.
  """
  error = found.exc_value
  if not isinstance(error, Stopped):
    tell(found)
    return
  for each in ENDING:
    if signal.getsignal(each) is leave:
      signal.signal(each, stop)
  # From another thread: here it would be dropped once more.
  threading.Timer(0.01, os.kill, (os.getpid(), error.number)).start()


def leave(number: int, frame: FrameType | None) -> NoReturn:
  """A handler that ends the process at once."""
  del frame
  printing.tell(described(number))
  os._exit(128 + number)


def finish(status: int) -> NoReturn:
  """Ends the process with an exit code.

  After a signal Python does not take itself down: programs that JAX has started
  may still run then, and would crash where they read what is gone.
  """
  if status - 128 in ENDING:
    atexit._run_exitfuncs()  # Processes of a run leave it there.
    for stream in sys.stdout, sys.stderr:
      with contextlib.suppress(AttributeError, OSError, ValueError):
        stream.flush()
    os._exit(status)
  sys.exit(status)


def number(error: KeyboardInterrupt) -> int:
  """The signal behind an interruption."""
  return error.number if isinstance(error, Stopped) else signal.SIGINT


def described(number: int) -> str:
  """The line for the user."""
  if number == signal.SIGINT:
    return "interrupted"
  return f"ended by {signal.Signals(number).name}"
