"""`python -m protojax`: quick to answer, one line for a mistake."""

import re
import subprocess
import sys
import types

import pytest

from protojax import __main__ as command_line
from protojax.types import UserError

_HEAVY = ("jax", "flax", "numpy", "orbax", "grain", "absl", "PIL", "rich")


def test_help_imports_nothing_heavy():
  done = subprocess.run(
    [sys.executable, "-X", "importtime", "-m", "protojax", "--help"],
    capture_output=True,
    text=True,
    check=True,
  )
  imported = set(re.findall(r"\|\s+(\w+)", done.stderr))
  assert "argparse" in imported
  assert not imported & set(_HEAVY)
  for name, (_, purpose) in command_line._COMMANDS.items():
    assert re.search(rf"^ +{name}\s+{purpose}", done.stdout, re.MULTILINE)


def test_every_command_explains_itself(capsys):
  for name in command_line._COMMANDS:
    with pytest.raises(SystemExit, match="0"):
      command_line.main([name, "--help"])
    assert f"usage: python -m protojax {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("argv", "named"),
  [
    ([], "COMMAND"),
    (["predictt"], "'predictt'"),
    (["--wrong"], "COMMAND"),
    (["predict"], "PATH"),
    (["predict", "--top", "few", "."], "'few'"),
    (["predict", "--top=-1", "."], "'-1'"),
    (["predict", "--format", "xml", "."], "'xml'"),
  ],
)
def test_a_wrong_command_line_is_one_line(argv, named, capsys):
  with pytest.raises(SystemExit, match="2"):
    command_line.main(argv)
  printed = capsys.readouterr()
  assert printed.out == ""
  assert named in printed.err
  assert printed.err.count("\n") == 1


@pytest.fixture
def command(monkeypatch):
  """A command "try" that does what the test puts into its `run`."""
  module = types.ModuleType("protojax_try", "Tries.")
  module.arguments = lambda parser: parser.add_argument("word")
  monkeypatch.setitem(sys.modules, "protojax_try", module)
  monkeypatch.setitem(command_line._COMMANDS, "try", ("protojax_try", "tries"))
  return module


def test_a_command_gets_its_arguments_and_gives_the_exit_code(command):
  command.run = lambda args: len(args.word)
  assert command_line.main(["try", "seven"]) == 5


def test_a_mistake_is_one_line(command, capsys):
  def run(args):
    raise UserError(f"no {args.word}\nanywhere")

  command.run = run
  assert command_line.main(["try", "cat"]) == 2
  assert capsys.readouterr().err == "error: no cat anywhere\n"


def test_control_c_is_no_error_report(command, capsys):
  def run(args):
    raise KeyboardInterrupt

  command.run = run
  assert command_line.main(["try", "cat"]) == 130
  assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_stops_early_is_no_error():
  script = """
import sys, types
from protojax import __main__ as command_line
module = types.ModuleType("endless")
module.arguments = lambda parser: None
def run(args):
  while True:
    print("word " * 1000)
module.run = run
sys.modules["endless"] = module
command_line._COMMANDS["endless"] = ("endless", "")
sys.exit(command_line.main(["endless"]))
"""
  with subprocess.Popen(
    [sys.executable, "-c", script],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
