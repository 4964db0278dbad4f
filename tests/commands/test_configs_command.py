"""`python -m protojax configs`: all configs, and the keys of one."""

import ast
import re
import shlex

import pytest

from protojax import configuration
from protojax.__main__ import main
from tests.conftest import ROOT

_TEXTS = {
  path.stem: path.read_text(encoding="utf-8")
  for path in (ROOT / "configs").glob("*.py")
}
# What configs share is no config.
_FILES = {
  name: ast.get_docstring(ast.parse(text))
  for name, text in _TEXTS.items()
  if "def get_config" in text
}


def test_all_are_listed_with_their_first_lines(capsys):
  assert main(["configs"]) == 0
  lines = capsys.readouterr().out.splitlines()
  listed = dict(re.split(" {2,}", line, maxsplit=1) for line in lines)
  assert listed == {name: doc.split("\n")[0] for name, doc in _FILES.items()}


@pytest.mark.parametrize("name", ["protopnet_photos:debug", "irca_folder"])
def test_the_keys_of_one_make_it_again(name, capsys):
  assert main(["configs", name]) == 0
  printed = capsys.readouterr().out
  assert printed.startswith(_FILES[name.split(":")[0]])
  keys = re.findall("^--config.*$", printed, re.MULTILINE)
  blank = configuration.read(name).to_dict()
  typed = [word for key in keys for word in shlex.split(key)]
  assert configuration.load(name, typed).to_dict() == blank
  values = str(blank).count("': ") - str(blank).count("': {")
  assert len(keys) == values


def test_comments_come_from_the_config_that_a_config_is_made_of(capsys):
  main(["configs", "protopnet_photos"])
  printed = capsys.readouterr().out
  assert "# How often an epoch has each image.\n--config.data.copies" in printed


def test_a_file_of_ones_own(tmp_path, capsys):
  file = tmp_path / "mine.py"
  text = (ROOT / "configs" / "protopnet_photos.py").read_text(encoding="utf-8")
  file.write_text(text.replace("per_class = 5", "per_class = 7"), "utf-8")
  assert main(["configs", str(file)]) == 0
  assert "--config.prototypes.per_class=7\n" in capsys.readouterr().out


def test_a_name_that_is_not_there(capsys):
  assert main(["configs", "protopnet_foldr"]) == 2
  assert capsys.readouterr().err == (
    "error: --config: there is no file protopnet_foldr, and no config of that"
    " name (`python -m protojax configs` lists them). Did you mean"
    " protopnet_folder?\n"
  )


def test_a_name_and_a_path_are_the_same_config():
  by_name = configuration.load("epic_folder:debug", ["--config.seed=4"])
  path = str(ROOT / "configs" / "epic_folder.py:debug")
  assert by_name == configuration.load(path, ["--config.seed=4"])
  assert configuration.name("epic_folder:debug") == "epic_folder-debug"
