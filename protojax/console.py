"""The terminal for tables and progress bars, in which names do no harm."""

from collections.abc import Iterable
import contextlib
import io
import sys
from typing import Any

from rich import console as rich_console
from rich.segment import Segment
from rich.text import Text

from protojax import printing


class Console(rich_console.Console):
  """A console of rich that prints text as `printing` does, and as it is.

  Brackets are no markup, colons no emoji, and numbers have no colour.
  """

  def __init__(self, stderr: bool = False, **options: Any) -> None:
    """Prints to standard output or standard error.

    Args:
      stderr: then the command goes on if nothing can be written there. What is
        printed to standard output are results, and the command ends.
      **options: of rich's console.
    """
    if stderr:
      options["file"] = _Lenient(sys.stderr or io.StringIO())
    plain = {"markup": False, "emoji": False, "highlight": False}
    super().__init__(stderr=stderr, **plain, **options)

  def render_str(self, text: str, **options: Any) -> Text:
    """A text to print, before the room for it is known, as in a table."""
    return super().render_str(printing.escaped_in_lines(text), **options)

  def render(self, *args: Any, **options: Any) -> Iterable[Segment]:
    """The segments of what is printed, also of bars."""
    for segment in super().render(*args, **options):
      if segment.control:
        yield segment
      else:
        # Long lines have been broken by now.
        text = printing.escaped_in_lines(segment.text)
        yield segment._replace(text=text)

  def on_broken_pipe(self) -> None:
    """Leaves it to the command line to end the command."""
    raise BrokenPipeError


class _Lenient:
  """A stream that may be full or closed."""

  def __init__(self, stream: Any) -> None:
    # Now: while a bar is shown, rich puts another one into its place.
    self._stream = stream

  def write(self, text: str) -> None:
    with contextlib.suppress(OSError):
      self._stream.write(text)

  def flush(self) -> None:
    with contextlib.suppress(OSError):
      self._stream.flush()

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)
