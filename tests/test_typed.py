"""How a user types commands, in a clone and elsewhere."""

import pytest

from protojax import typed

_HELP = """\
  python train.py --config=configs/protopnet_folder.py:debug
  python explain.py
  python -m protojax predict IMAGE...
`python -m protojax COMMAND --help`, configs/METHOD_folder.py, my/configs/a.txt
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
  for name in ("train.py", "explain.py"):
    (tmp_path / name).touch()
  for name in ("configs", "protojax"):
    (tmp_path / name).mkdir()
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_in_a_clone(clone):
  assert typed.command("train") == "python train.py"
  assert typed.command("predict") == "python -m protojax predict"
  assert typed.here(_HELP) == _HELP


@pytest.mark.parametrize(
  ("started", "program"),
  [
    ("/venv/bin/protojax", "protojax"),
    ("/venv/lib/protojax/__main__.py", "python -m protojax"),
  ],
)
def test_elsewhere(started, program, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr("sys.argv", [started])
  assert typed.command("train") == f"{program} train"
  assert typed.command("predict") == f"{program} predict"
  assert typed.here(_HELP) == (
    f"  {program} train --config=protopnet_folder:debug\n"
    f"  {program} explain\n"
    f"  {program} predict IMAGE...\n"
    f"`{program} COMMAND --help`, METHOD_folder, my/configs/a.txt\n"
  )


def test_the_script_in_a_clone(clone, monkeypatch):
  monkeypatch.setattr("sys.argv", ["/venv/bin/protojax"])
  assert typed.program() == "protojax"
  assert typed.command("train") == "python train.py"
