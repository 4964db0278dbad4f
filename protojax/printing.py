"""Lines for a terminal, in which no name can do harm.

Names of files and classes come from others. Printed as they are, they could
colour the terminal, write over earlier lines, or read backwards. All that the
package prints goes through this module, tables and progress bars through
`console`.
"""

from collections.abc import Iterator
import contextlib
import io
import os
import re
import sys
from typing import Any

# Characters that move the cursor, break the line, or turn the direction of what
# follows; and halves of surrogate pairs, which cannot be written.
_HARMFUL = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# Characters that take no room. Some languages need them within words, so pages,
# where they can be searched for, keep them.
_UNSEEN = (
  r"\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
  r"\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
  r"\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
  r"\U000e0000-\U000e0fff"
)
_IN_TERMINALS = re.compile(f"[{_HARMFUL}{_UNSEEN}]")
_IN_PAGES = re.compile(f"(?![\n\t])[{_HARMFUL}]")


def escaped(text: str) -> str:
  r"""The text with each character that cannot be seen as its escape: `\x1b`."""
  return _IN_TERMINALS.sub(_escape, text)


def escaped_in_lines(text: str) -> str:
  """The same, line by line: line breaks are kept."""
  lines = re.split("(\r?\n)", text)
  lines[::2] = map(escaped, lines[::2])
  return "".join(lines)


def escaped_in_page(text: str) -> str:
  """The text for a page: with line breaks, and characters that words need."""
  return _IN_PAGES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
  character = found.group()
  # Python's stand-in for a byte of a file name that is not UTF-8.
  if "\udc80" <= character <= "\udcff":
    return f"\\x{ord(character) - 0xDC00:02x}"
  return character.encode("unicode_escape").decode("ascii")


def one_line(message: object) -> str:
  """A message on one line; its line breaks become spaces."""
  return escaped(" ".join(str(message).split()))


def say(*lines: str) -> None:
  """Prints lines to standard output."""
  for line in lines:
    print(escaped(line), flush=True)


def tell(*lines: str) -> None:
  """Prints lines to standard error, as far as it can be written."""
  # It may be a file on the very disk that is full, or closed.
  with contextlib.suppress(OSError):
    for line in lines if sys.stderr else ():
      print(escaped(line), file=sys.stderr, flush=True)


class Output:
  """A text stream in which nothing reaches the terminal but text and lines."""

  def __init__(self, stream: Any) -> None:
    self._stream = stream

  def write(self, text: str) -> None:
    """Writes text; its line breaks are kept."""
    self._stream.write(escaped_in_lines(text))


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
  """Prints warnings of Python and of loggers as lines: `warning: ...`."""
  # Imported late, as is all that `--help` does not need.
  import logging
  import warnings

  class Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
      kind = "error" if record.levelno >= logging.ERROR else "warning"
      tell(f"{kind}: {one_line(record.getMessage())}")
      # A mistake of ours that does not end the command.
      if record.exc_info:
        tell(*form.formatException(record.exc_info).splitlines())

  def show(message: Any, *where: Any, **also: Any) -> None:
    del where, also
    tell(f"warning: {one_line(message)}")

  form, lines = logging.Formatter(), Lines(logging.WARNING)
  logging.root.addHandler(lines)
  # Not by `catch_warnings`, which would also undo the filters that modules set
  # while they are imported.
  before = warnings.showwarning
  warnings.showwarning = show
  try:
    yield
  finally:
    warnings.showwarning = before
    logging.root.removeHandler(lines)


@contextlib.contextmanager
def streams() -> Iterator[None]:
  """Has standard output show what its encoding lacks by escapes.

  At the end, nothing is left that Python would try to write, and complain of,
  when the process ends.
  """
  out = sys.stdout if isinstance(sys.stdout, io.TextIOWrapper) else None
  before = out.errors if out else None
  if out:
    out.reconfigure(errors="backslashreplace")
  try:
    yield
  finally:
    for stream in (sys.stdout, sys.stderr):
      try:
        if stream is not None:
          stream.flush()
      except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if out:
      out.reconfigure(errors=before)


def flush_output() -> None:
  """Writes what is left in standard output, which is None if it is closed."""
  if sys.stdout is not None:
    sys.stdout.flush()
