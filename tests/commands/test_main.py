"""`python -m protojax`: quick to answer, one line for a mistake."""

import argparse
import importlib
import os
import re
import subprocess
import sys
import textwrap

import pytest

import protojax
from protojax import __main__ as command_line
from protojax import cli, commands
from protojax.evaluation import measure
from protojax.heat import maps
from protojax.modify import presets
from tests.conftest import ROOT

_FILES = sorted((ROOT / "protojax" / "commands").glob("[a-z]*.py"))
_NAMES = [path.stem.rstrip("_").replace("_", "-") for path in _FILES]
_HEAVY = ("jax", "flax", "numpy", "orbax", "grain", "absl", "PIL", "rich")


def test_help_lists_every_file_and_imports_nothing_heavy():
  done = subprocess.run(
    [sys.executable, "-X", "importtime", "-m", "protojax", "--help"],
    env={**os.environ, "COLUMNS": "200"},
    capture_output=True,
    text=True,
    check=True,
  )
  imported = set(re.findall(r"\|\s+(\w+)", done.stderr))
  assert "argparse" in imported
  assert not imported & set(_HEAVY)
  listed = re.findall(r"^    (\S+)\s+(\S.*)$", done.stdout, re.MULTILINE)
  lines = [path.read_text().splitlines()[0][3:] for path in _FILES]
  assert listed == list(zip(_NAMES, lines, strict=True))
  assert {"import", "import-config"} <= set(_NAMES)


def test_the_version(capsys):
  with pytest.raises(SystemExit) as end:
    command_line.main(["--version"])
  assert end.value.code == 0
  assert capsys.readouterr().out == f"protojax {protojax.__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", _NAMES)
def test_help_of_a_command_imports_nothing_heavy(name):
  done = subprocess.run(
    [sys.executable, "-X", "importtime", "-m", "protojax", name, "--help"],
    capture_output=True,
    text=True,
    check=True,
  )
  imported = set(re.findall(r"\|\s+(\w+)", done.stderr))
  assert "argparse" in imported
  assert not imported & set(_HEAVY)


@pytest.mark.parametrize(
  ("name", "argument", "choices"),
  [
    ("explain", "mode", presets.MODES),
    ("explain", "codec", presets.CODECS),
    ("explain", "heat", maps.ATTRIBUTIONS),
  ],
)
def test_help_names_all_choices(name, argument, choices):
  (action,) = (a for a in _declared(name) if a.dest == argument)
  assert tuple(action.choices) == tuple(choices)


@pytest.mark.parametrize("name", ["explain", "demo"])
def test_the_default_is_that_of_sentences(name):
  (action,) = (a for a in _declared(name) if a.dest == "preset")
  assert action.default == presets.DEFAULT.name
  assert f"{action.default} (the default" in action.help or (
    f"{action.default} by default" in " ".join(action.help.split())
  )


def test_help_names_the_images_that_are_judged():
  (action,) = (a for a in _declared("evaluate") if a.dest == "images")
  assert action.default == measure.IMAGES


def _declared(name):
  """The arguments of a command."""
  parser = argparse.ArgumentParser()
  module = importlib.import_module(f"protojax.commands.{name}")
  module.arguments(parser)
  return parser._actions


@pytest.mark.parametrize("name", _NAMES)
def test_every_command_explains_itself(name, capsys):
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
    (["predict", "--form=csv", "."], "unrecognized arguments: --form=csv"),
    (["predict", ".", "--config.seed=3"], "--config.seed=3"),
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
def command(tmp_path, monkeypatch):
  """Makes the command "try-it", whose `run` has the given lines."""

  def make(*lines):
    body = textwrap.indent("\n".join(lines), "  ")
    (tmp_path / "try_it.py").write_text(
      '"""Tries 100 % of it."""\n'
      "from protojax.types import UserError\n"
      "def arguments(parser):\n"
      '  parser.add_argument("word")\n'
      f"def run(args):\n{body}\n"
    )

  path = [*commands.__path__, str(tmp_path)]
  monkeypatch.setattr(commands, "__path__", path)
  yield make
  sys.modules.pop("protojax.commands.try_it", None)
  vars(commands).pop("try_it", None)


def test_a_new_file_is_a_new_command(command, capsys):
  command("return len(args.word)")
  assert cli.modules()["try-it"] == "try_it"
  assert cli.purpose("try_it") == "Tries 100 % of it."
  assert command_line.main(["try-it", "seven"]) == 5
  with pytest.raises(SystemExit, match="0"):
    command_line.main(["--help"])
  assert "Tries 100 % of it." in capsys.readouterr().out


def test_a_command_can_read_arguments_by_itself(command, tmp_path, capsys):
  command("print(args.undeclared)")
  path = tmp_path / "try_it.py"
  declared = '  parser.add_argument("word")\n'
  more = declared + "  parser.set_defaults(undeclared=[])\n"
  path.write_text(path.read_text().replace(declared, more))
  assert command_line.main(["try-it", "a", "--config.b=c", "d"]) == 0
  assert capsys.readouterr().out == "['--config.b=c', 'd']\n"


@pytest.mark.parametrize("text", ["", "'Single.'", "x = 1\n", '"""Open'])
def test_a_file_without_a_docstring_is_listed_too(command, tmp_path, text):
  command("pass")
  (tmp_path / "try_it.py").write_text(text)
  assert cli.purpose("try_it") == ""


def test_a_mistake_is_one_line(command, capsys):
  command('raise UserError(f"no {args.word}\\nanywhere")')
  assert command_line.main(["try-it", "cat"]) == 2
  assert capsys.readouterr().err == "error: no cat anywhere\n"


def test_control_c_is_no_error_report(command, capsys):
  command("raise KeyboardInterrupt")
  assert command_line.main(["try-it", "cat"]) == 130
  assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error(command, tmp_path):
  command("while True:", '  print("word " * 1000)')
  script = f"""
import sys
from protojax import __main__ as command_line, commands
commands.__path__.append({str(tmp_path)!r})
sys.exit(command_line.main(["try-it", "word"]))
"""
  with subprocess.Popen(
    [sys.executable, "-c", script],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  ) as process:
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(300) == 141
    assert process.stderr.read() == b""
