"""What reaches a terminal: characters that can be seen, on single lines."""

import contextlib
import io
import logging
import sys
import unicodedata
import warnings

import pytest
from rich.table import Table

from protojax import printing
from protojax.console import Console

# Signs that stand before or around digits: they are seen.
_SEEN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u0890\u0891\u08e2"
_SEEN += "\U000110bd\U000110cd"
_EVIL = "a\x1b[31mb\u202ec\u200bd\ne\x9bf"
_TAME = r"a\x1b[31mb\u202ec\u200bd\ne\x9bf"


def test_no_character_of_unicode_that_cannot_be_seen_is_left():
  kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
  every = map(chr, range(sys.maxunicode + 1))
  unseen = [c for c in every if unicodedata.category(c) in kinds]
  assert len(unseen) > 2000
  left = [c for c in unseen if printing.escaped(c) == c]
  assert "".join(left) == _SEEN


@pytest.mark.parametrize(
  "text", ["Größe 5 µm", "鳥 = 2", "عصفور", "👍", "e\u0301", "it's \\x1b", ""]
)
def test_what_can_be_seen_stays(text):
  assert printing.escaped(text) == text
  assert printing.escaped_in_page(text) == text


def test_escapes():
  assert printing.escaped(_EVIL) == _TAME
  # The byte of a name that is not UTF-8.
  assert printing.escaped(b"\xe9".decode("utf-8", "surrogateescape")) == r"\xe9"
  assert printing.escaped("\ud800\U000e0001") == r"\ud800\U000e0001"
  assert printing.one_line("a\n b\u2028c\x1b\r\n") == r"a b c\x1b"


def test_pages_keep_what_words_need():
  text = "می\u200cخواهم\n\u200e"
  assert printing.escaped_in_page(text) == text
  assert printing.escaped_in_page("a\u202eb\x00\ud800") == r"a\u202eb\x00\ud800"


def test_lines(capsys):
  printing.say(_EVIL, "next")
  printing.tell(_EVIL)
  printing.Output(sys.stdout).write('"x\x1b\ny",\t1\r\n')
  out, err = capsys.readouterr()
  assert out == _TAME + '\nnext\n"x\\x1b\ny",\\t1\r\n'
  assert err == _TAME + "\n"


def test_a_console_prints_names_as_they_are():
  file = io.StringIO()
  console = Console(file=file, width=80, force_terminal=True)
  console.print("[/red] [bold]x[/] :bird: \x1b[2J", style="bold")
  # Its own sequences go through; those of the text do not.
  assert file.getvalue() == (
    "\x1b[1m[/red] [bold]x[/] :bird: \\x1b[2J\x1b[0m\n"
  )


def test_a_console_breaks_long_lines():
  file = io.StringIO()
  Console(file=file, width=12).print("\none two three\x1b")
  assert file.getvalue() == "\none two \nthree\\x1b\n"


def test_a_table_has_room_for_escapes():
  file = io.StringIO()
  table = Table("a\x1b", box=None, pad_edge=False)
  table.add_row("[/red]\u202e")
  Console(file=file, width=40).print(table)
  assert file.getvalue().split("\n") == [r"a\x1b       ", r"[/red]\u202e", ""]


def test_a_console_on_standard_error_may_be_full(monkeypatch):
  with open("/dev/full", "w") as full:
    monkeypatch.setattr(sys, "stderr", full)
    Console(stderr=True).print("x" * 100_000)
    printing.tell("x" * 100_000)
    monkeypatch.undo()
    # What could not be written before fails again.
    with contextlib.suppress(OSError):
      full.close()


def test_streams_that_are_closed(monkeypatch):
  monkeypatch.setattr(sys, "stdout", None)
  monkeypatch.setattr(sys, "stderr", None)
  printing.say("nobody")
  printing.tell("nobody")
  printing.flush_output()
  Console().print("nobody")
  Console(stderr=True).print("nobody")
  with printing.streams():
    pass


def test_an_encoding_without_a_letter(monkeypatch):
  raw = io.BytesIO()
  monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
  with printing.streams():
    printing.say("Größe")
  assert raw.getvalue() == rb"Gr\xf6\xdfe" + b"\n"
  assert sys.stdout.errors == "strict"


def test_warnings_are_lines(capsys):
  with warnings.catch_warnings(), printing.warnings_as_lines():
    warnings.simplefilter("always")
    warnings.warn("one\n  two\x1b", UserWarning, stacklevel=1)
    logging.getLogger("absl").warning("of %s", "absl")
    logging.getLogger("some.where").info("not said")
    try:
      raise ZeroDivisionError
    except ZeroDivisionError:
      logging.getLogger("here").exception("GET /")
  first, second, third, *rest = capsys.readouterr().err.splitlines()
  assert first == r"warning: one two\x1b"
  assert second == "warning: of absl"
  assert third == "error: GET /"
  assert rest[0].startswith("Traceback")
  logging.getLogger("some.where").warning("afterwards as before")
  assert "warning: " not in capsys.readouterr().err
