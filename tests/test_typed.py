"""How a user types commands, in a clone and elsewhere."""

import pytest

from protojax import typed
from protojax.errors import UserError

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


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("--config.data.root=DIR: no", "data.root=DIR: no"),
    ("--config=a:b: no variant", "config=a:b: no variant"),
    ("another --workdir, --init-from=x", "another workdir, init_from=x"),
    ("anyway with --allow-stale.", "anyway with allow_stale=True."),
    ("flag (see --help)", "flag"),
    ("by `protojax train --workdir=x`", "by `protojax train --workdir=x`"),
    ("--configs, --workdirs, --output", "--configs, --workdirs, --output"),
  ],
)
def test_python_has_arguments_in_place_of_flags(text, said):
  with pytest.raises(UserError) as error, typed.from_python():
    raise UserError(text)
  assert str(error.value) == said


def test_errors_of_others_stay_as_they_are():
  with pytest.raises(KeyError, match="--workdir"), typed.from_python():
    raise KeyError("--workdir")
