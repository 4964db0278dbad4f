"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP."""

import atexit
from collections.abc import Callable, Iterator
import contextlib
import functools
import os
import signal
import sys
import threading
import time
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


# The thread that looks after the stop that is under way.
_watch: threading.Thread | None = None
_taken = threading.Event()
# The next signal is the watch's question, not the user's.
_asked = threading.Event()
_PATIENCE = 0.5  # seconds


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
  sys.unraisablehook = hook = functools.partial(_tell_others, unraisable)
  try:
    yield
  finally:
    if before and handler is stop:
      _take()
    # A later hook stays: after a failure it keeps Orbax's threads quiet.
    if sys.unraisablehook is hook:
      sys.unraisablehook = unraisable
    for number, earlier in before.items():
      # After the first signal, a second one must not wait for anything.
      if signal.getsignal(number) is handler:
        signal.signal(number, earlier)


def stop(number: int, frame: FrameType | None) -> NoReturn:
  """A handler that ends the command, which cleans up; the next one waits not.

  An exception that a signal raises can be lost: Python drops it in a finaliser,
  a library in C while it asks whether an object has an attribute. So a thread
  asks the main one, until that has left `handled` or called `taken`, whether
  the exception is still on its way, and it is raised again if not.

  Raises:
    Stopped: always.
  """
  del frame
  for each in ENDING:
    if signal.getsignal(each) is stop:
      signal.signal(each, _asked_or_leave)
  global _watch
  _taken.clear()
  _watch = threading.Thread(target=_ask, args=(number,), daemon=True)
  _watch.start()
  raise Stopped(number)


def _ask(number: int) -> None:
  main = threading.main_thread().ident
  while not _taken.wait(_PATIENCE):
    if main and not _asked.is_set():
      _asked.set()
      # A signal, for the main thread may wait in a call of the system.
      signal.pthread_kill(main, number)


def _asked_or_leave(number: int, frame: FrameType | None) -> None:
  if not _asked.is_set():
    leave(number, frame)
  _asked.clear()
  if not _taken.is_set() and not _is_on_its_way():
    raise Stopped(number)


def _is_on_its_way() -> bool:
  """Whether the main thread cleans up after a signal, as in a `finally`."""
  error = sys.exception()
  while error is not None and not isinstance(error, Stopped):
    error = error.__context__
  return error is not None


def _take() -> None:
  """Ends the watch, and waits until its last question has been answered."""
  global _watch
  if _watch is None:
    return
  _taken.set()
  _watch.join()
  _watch = None
  while _asked.is_set():
    time.sleep(0.001)


def _tell_others(tell: Callable[[Any], Any], found: Any) -> None:
  """Says nothing of a signal that Python drops: it is raised again."""
  if not isinstance(found.exc_value, Stopped):
    tell(found)


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


def taken(error: KeyboardInterrupt) -> int:
  """The signal behind an interruption, which is at its end here."""
  _take()
  return error.number if isinstance(error, Stopped) else signal.SIGINT


def described(number: int) -> str:
  """The line for the user."""
  if number == signal.SIGINT:
    return "interrupted"
  return f"ended by {signal.Signals(number).name}"
