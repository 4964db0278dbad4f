"""What ends a command from outside."""

import signal
import sys
import threading
import time

import pytest

from protojax import cli, signals


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
  """A shell has Ctrl-C ignored by what it starts in the background."""
  before = {n: signal.getsignal(n) for n in signals.ENDING}
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize(
  ("number", "line"),
  [
    (signal.SIGINT, "interrupted"),
    (signal.SIGTERM, "ended by SIGTERM"),
    (signal.SIGHUP, "ended by SIGHUP"),
  ],
)
def test_a_signal_ends_a_command_which_cleans_up(number, line, capsys):
  seen = []

  def main():
    try:
      signal.raise_signal(number)
    finally:
      seen.append("cleaned up")

  assert cli.guarded(main) == 128 + number
  assert capsys.readouterr().err == f"{line}\n"
  assert seen == ["cleaned up"]


def test_a_signal_in_a_finaliser_is_not_dropped(capsys):
  """Python prints what is raised there, and goes on."""
  seen = []

  class Closed:
    def __del__(self):
      signal.raise_signal(signal.SIGTERM)

  def main():
    closed = Closed()
    del closed
    try:
      for _ in range(500):
        time.sleep(0.01)
      seen.append("not stopped")
    finally:
      seen.append("cleaned up")

  assert cli.guarded(main) == 128 + signal.SIGTERM
  assert capsys.readouterr().err == "ended by SIGTERM\n"
  assert seen == ["cleaned up"]


def test_a_signal_that_a_library_swallows_is_not_lost(capsys):
  """Code in C may clear any error while it looks for an attribute."""
  seen = []

  def main():
    for late in False, True:
      try:
        if not late:
          signal.raise_signal(signal.SIGHUP)
        for _ in range(500):
          time.sleep(0.01)
      except BaseException as error:
        seen.append(type(error))
    for _ in range(500):
      time.sleep(0.01)
    seen.append("not stopped")

  assert cli.guarded(main) == 128 + signal.SIGHUP
  assert capsys.readouterr().err == "ended by SIGHUP\n"
  assert seen == [signals.Stopped] * 2


def test_cleaning_up_is_not_disturbed(monkeypatch):
  """However long it takes, and whatever goes wrong in it."""
  monkeypatch.setattr(signals, "_PATIENCE", 0.001)
  asked = []
  was = signals._is_on_its_way
  monkeypatch.setattr(
    signals, "_is_on_its_way", lambda: asked.append(was()) or asked[-1]
  )

  places = []

  def main():
    try:
      signal.raise_signal(signal.SIGTERM)
    finally:
      places.append(len(asked))
      while len(asked) < places[0] + 3:
        time.sleep(0.001)
      try:
        raise ValueError("in a finally")
      except ValueError:
        while len(asked) < places[0] + 6:
          time.sleep(0.001)
      places.append(len(asked))

  assert cli.guarded(main) == 128 + signal.SIGTERM
  # A slow machine may ask before it, or when all is done.
  began, ended = places
  assert all(asked[began:ended])
  assert signals._watch is None


def test_a_stop_that_was_taken_is_at_its_end(monkeypatch):
  """The page of a server ends so, and its threads finish what they do."""
  monkeypatch.setattr(signals, "_PATIENCE", 0.001)
  with signals.handled(signals.stop):
    with pytest.raises(signals.Stopped) as stopped:
      signal.raise_signal(signal.SIGTERM)
    assert signals.taken(stopped.value) == signal.SIGTERM
    for _ in range(20):
      time.sleep(0.001)


def test_other_errors_of_a_finaliser_are_told(monkeypatch):
  told = []
  monkeypatch.setattr("sys.unraisablehook", lambda found: told.append(found))

  class Broken:
    def __del__(self):
      raise ValueError("broken")

  def main():
    broken = Broken()
    del broken

  assert cli.guarded(main) == 0
  assert [str(found.exc_value) for found in told] == ["broken"]


def test_a_second_signal_does_not_wait(monkeypatch, capsys):

  def leave(code):
    raise SystemExit(code)

  monkeypatch.setattr(signals.os, "_exit", leave)

  def main():
    try:
      signal.raise_signal(signal.SIGTERM)
    finally:
      signal.raise_signal(signal.SIGINT)

  with pytest.raises(SystemExit, match=str(128 + signal.SIGINT)):
    cli.guarded(main)
  assert capsys.readouterr().err == "interrupted\n"


def test_handlers_come_back():
  with signals.handled(signals.stop):
    with signals.handled(signals.leave):
      assert signal.getsignal(signal.SIGHUP) is signals.leave
    assert signal.getsignal(signal.SIGHUP) is signals.stop
  assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
  """As by `nohup`, and for a shell's processes in the background."""
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  with signals.handled(signals.stop):
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_another_thread_has_no_handlers():
  seen = []

  def run():
    with signals.handled(signals.stop):
      seen.append(signal.getsignal(signal.SIGTERM))

  thread = threading.Thread(target=run)
  thread.start()
  thread.join()
  assert seen == [signal.SIG_DFL]


@pytest.mark.parametrize("number", signals.ENDING)
def test_python_is_not_taken_down_after_a_signal(number, monkeypatch):
  """JAX's threads would crash; a process that nothing ended ends as ever."""
  ended = []
  monkeypatch.setattr(signals.os, "_exit", ended.append)
  monkeypatch.setattr(
    signals.atexit, "_run_exitfuncs", lambda: ended.append("functions")
  )
  for status in 0, 2:
    with pytest.raises(SystemExit, match=str(status)):
      signals.finish(status)
  assert ended == []
  with pytest.raises(SystemExit):
    signals.finish(128 + number)
  assert ended == ["functions", 128 + number]


def test_a_hook_that_came_later_stays(monkeypatch):
  """As that of a checkpoint that failed, whose threads go on to fail."""
  monkeypatch.setattr(sys, "unraisablehook", before := sys.unraisablehook)
  with signals.handled(signals.stop):
    pass
  assert sys.unraisablehook is before
  with signals.handled(signals.stop):
    sys.unraisablehook = later = print
  assert sys.unraisablehook is later
