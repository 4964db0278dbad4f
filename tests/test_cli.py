"""How commands end: one line for the user, and the exit code of a shell."""

import contextlib
import errno
import os
import signal
import subprocess
import sys

import pytest

from protojax import __main__ as command_line
from protojax import cli
from protojax.types import UserError
from tests.conftest import ROOT


def _raise(error):
  raise error


@pytest.mark.parametrize("status", [0, 3])
def test_the_exit_code_is_that_of_the_command(status):
  assert cli.guarded(lambda: status) == status
  assert cli.guarded(lambda: None) == 0


def test_a_users_mistake_is_one_line_and_2(capsys):
  error = UserError("no such\n  thing")
  assert cli.guarded(lambda: _raise(error)) == 2
  assert capsys.readouterr().err == "error: no such thing\n"


def test_the_folder_of_somebody_else_is_one_line_and_2(capsys):
  error = PermissionError(errno.EACCES, "Permission denied", "/run\n/of")
  assert cli.guarded(lambda: _raise(error)) == 2
  told = capsys.readouterr().err
  assert told == "error: /run /of: permission denied; ask its owner\n"


def test_control_c_is_one_line_and_130(capsys):
  assert cli.guarded(lambda: _raise(KeyboardInterrupt())) == 130
  assert capsys.readouterr().err == "interrupted\n"


def test_a_mistake_of_ours_is_not_hidden():
  with pytest.raises(ZeroDivisionError):
    cli.guarded(lambda: 1 // 0)


@pytest.mark.slow
def test_control_c_ends_a_script_without_a_traceback():
  script = """
import signal, sys, time
from protojax import cli
# A shell has it ignored by what it starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
def main():
  print("begun", flush=True)
  time.sleep(600)
sys.exit(cli.guarded(main))
"""
  with subprocess.Popen(
    [sys.executable, "-c", script],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert process.stderr.read() == "interrupted\n"


def test_the_exit_code_stands_though_the_line_finds_no_room(monkeypatch):
  with open("/dev/full", "w") as full:
    monkeypatch.setattr(sys, "stderr", full)
    assert cli.guarded(lambda: _raise(UserError("the disk is full"))) == 2
    monkeypatch.undo()
    with contextlib.suppress(OSError):
      full.close()


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
  ("shell", "code", "said"),
  [
    ("> /dev/full", 2, "error: standard output could not be written: the disk"),
    ("2> /dev/full", 0, ""),
    (">&-", 0, ""),
    ("2>&-", 0, ""),
    ("| true", 141, ""),
  ],
)
def test_streams_that_are_full_or_closed(shell, code, said, unbuffered):
  # A pipe is written to when its reader has gone.
  wait = "p = select.poll(); p.register(1, 0); p.poll(); " * ("|" in shell)
  script = (
    f"import select, sys; {wait}"
    "from protojax import cli, printing; from protojax.console import Console;"
    "sys.exit(cli.guarded(lambda: (printing.say('a'), Console().print('b'),"
    " printing.tell('c'), None)[-1]))"
  )
  done = subprocess.run(
    [
      *("bash", "-c", f'"$0" -c "$1" {shell}; exit ${{PIPESTATUS[0]}}'),
      *(sys.executable, script),
    ],
    cwd=ROOT,
    env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == code
  assert done.stderr.startswith(said)
  assert done.stderr.count("\n") <= 1


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("x" * 300, "cannot be a path: file name too long"),
    ("y/" * 3000, "cannot be a path: file name too long"),
    ("a\0b", "embedded null"),
    (" \n", r"' \n' cannot be a path"),
    ("\ud800", "cannot be a path: "),
    ("~nobody_of_this_name/run", "there is no user 'nobody_of_this_name'"),
  ],
)
def test_what_cannot_be_a_path(text, found, capsys):
  argv = ["predict", f"--workdir={text}", "a.png"]
  with pytest.raises(SystemExit) as end:
    command_line.main(argv)
  assert end.value.code == 2
  told = capsys.readouterr().err
  assert found in told
  assert told.count("\n") == 1


@pytest.mark.parametrize(
  ("argv", "named"),
  [
    (["predict", "--workdir=", "a.png"], "--workdir has an empty value"),
    (["predict", "--workdir", "", "a.png"], "after '--workdir' is empty"),
    (["predict", "a.png", ""], "after 'a.png' is empty"),
    (["explain", "--images="], "--images has an empty value"),
    (["train", "--workdir=", "--dry-run"], "--workdir has an empty value"),
  ],
)
def test_an_empty_value_is_no_default(argv, named, capsys):
  """As of a shell's variable that is not set."""
  with pytest.raises(SystemExit) as end:
    command_line.main(argv)
  assert end.value.code == 2
  told = capsys.readouterr().err
  assert named in told
  assert told.count("\n") == 1


def test_a_key_of_a_config_may_be_empty():
  argv = ["--config=FILE.py", "--config.data.augment="]
  assert cli.parse("train", argv)[1].undeclared == argv[1:]


def test_what_may_be_a_path(tmp_path, monkeypatch):
  (tmp_path / "file").write_text("")
  (tmp_path / "loop").symlink_to(tmp_path / "loop")
  # Whoever opens them says what is wrong.
  for name in "new", "file", "file/inside", "loop", "loop/inside", "a\udcff":
    assert cli.path(str(tmp_path / name)) == str(tmp_path / name)
  monkeypatch.setenv("HOME", str(tmp_path))
  assert cli.path("~/run") == str(tmp_path / "run")
  long = "contrast=" + ",".join(f"{i / 1000}" for i in range(1, 100))
  assert cli.at_home(long) == long
