"""A config that is no config: the mistake of a user, in one line."""

import os

import pytest

from protojax import configuration
from protojax.types import UserError
from tests.conftest import ROOT


@pytest.mark.parametrize(
  ("code", "found"),
  [
    (b"hello\n", "line 1: NameError: name 'hello' is not defined"),
    (b"x = 1\ndef get_config(:\n", "line 2: SyntaxError: "),
    (b"x = 1\n\n\n1 / 0\n", "line 4: ZeroDivisionError: "),
    (
      b"def get_config(variant=''):\n  return {}[variant]\n",
      "line 2: KeyError: ",
    ),
    (b"import no_such_module\n", "line 1: ModuleNotFoundError: "),
    (b"x = 1\n", "the file has no function get_config"),
    (b"def get_config(): return None\n", "gives None; expected a ConfigDict"),
    (b"def get_config(): return {'a': 1}\n", "gives {'a': 1}; expected a Con"),
    (b"# \xe4\n", "is not text in UTF-8: byte 3 is 0xe4"),
    (b"x = 1\0\n", "is not text: it has a NUL"),
  ],
)
def test_a_file_that_is_no_config(tmp_path, code, found):
  path = tmp_path / "mine.py"
  path.write_bytes(code)
  with pytest.raises(UserError) as error:
    configuration.load(str(path))
  told = str(error.value)
  assert told.startswith("--config")
  assert found in told
  assert "\n" not in told


def test_what_is_no_file(tmp_path):
  (tmp_path / "mine.py").mkdir()
  (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
  os.mkfifo(tmp_path / "pipe.py")
  for name, found in (
    ("mine.py", "is a folder; a file is expected there; expected a file in P"),
    ("loop.py", "cannot be read: too many levels"),
    ("pipe.py", "is no regular file, such as a pipe"),
    ("mine", r"there is no file .*mine, .*\. Did you mean .*mine\.py"),
    ("x" * 300, "there is no file"),
    ("a\0b", "there is no file .*python -m protojax configs` lists them"),
  ):
    with pytest.raises(UserError, match=f"--config: .*{found}"):
      configuration.load(str(tmp_path / name))


@pytest.mark.parametrize(
  ("typed", "expected"),
  [
    ("data.image_size=3.7", "expected a whole number, such as"),
    ("data.image_size=1e3", "expected a whole number, such as"),
    ("data.image_size=True", "expected a whole number, such as"),
    ("data.image_size=", "expected a whole number, such as"),
    ("data.test_fraction=0,5", "expected a number, such as 0.4"),
    ("backbone.remat=maybe", "expected True or False, such as False"),
    ("backbone=/data", "a group of keys; set one of them, such as"),
  ],
)
def test_a_value_of_another_type_is_told_by_its_key(typed, expected):
  with pytest.raises(UserError) as told:
    configuration.load(
      f"{ROOT}/configs/protopnet_folder.py", [f"--config.{typed}"]
    )
  assert str(told.value).startswith(f"--config.{typed}: ")
  assert expected in str(told.value)
