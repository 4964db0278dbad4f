"""Files that cannot be written, and files that are replaced whole."""

import errno
import json
import os
from pathlib import Path
import stat
import threading

import pytest

from protojax.types import UserError
from protojax.writing import (
  failure,
  first_line,
  json_text,
  reason,
  replacing,
  require_apart,
  writing,
)


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
  (tmp_path / "run").write_text("a file")
  path = tmp_path / "run" / "config.json"
  with (
    pytest.raises(UserError, match=r"config.json could not .*not a directory"),
    writing(path),
  ):
    path.write_text("{}")
  with (
    pytest.raises(UserError, match=r"exists\. Name another|not a directory"),
    replacing(path),
  ):
    pass


@pytest.mark.parametrize(
  ("code", "words"),
  [
    (errno.ENOSPC, r"the disk is full\. Make room"),
    (errno.EDQUOT, r"quota is used up\. Make room"),
    (errno.EFBIG, r"larger than .* allows\. Make room"),
    (errno.EACCES, r"permission denied\. Name another place"),
    (errno.EROFS, r"read-only file system\. Name another place"),
  ],
)
def test_the_reason_and_the_way_out(tmp_path, code, words):
  with pytest.raises(UserError, match=words), writing(tmp_path):
    raise OSError(code, os.strerror(code), "inner/name")


def test_errors_of_other_libraries():
  assert reason(ValueError("[OS 28: No space left on device]")) == (
    "the disk is full"
  )
  assert reason(ValueError("this\nand that")) == "this"
  assert reason(OSError("only words")) == "only words"
  assert reason(RuntimeError()) == first_line(OSError()) == "no details"
  assert "a note" in str(failure("it", RuntimeError(), "a note"))


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
  path = tmp_path / "above" / "table.csv"
  with replacing(path) as file:
    file.write("old\r\n")
  with replacing(path, "wb") as file:
    file.write(b"new")
    assert path.read_bytes() == b"old\r\n"
  assert path.read_bytes() == b"new"

  def cut_off(error):
    with replacing(path) as file:
      file.write("half")
      raise error

  with pytest.raises(UserError, match="disk is full"):
    cut_off(OSError(errno.ENOSPC, "No space left on device"))
  for error in (KeyboardInterrupt(), FileNotFoundError(2, "an image")):
    with pytest.raises(type(error)):
      cut_off(error)
  assert path.read_bytes() == b"new"
  assert os.listdir(path.parent) == ["table.csv"]


def test_json_is_valid_whatever_the_numbers_are():
  content = {"a": float("nan"), "b": [1.5, float("inf")], "c": ("x", None, 2)}
  text = json_text(content)
  found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
  assert found == {"a": None, "b": [1.5, None], "c": ["x", None, 2]}


def test_a_device_is_written_to_and_stays():
  with pytest.raises(UserError, match=r"^/dev/full could not .*disk is full"):
    _write(Path("/dev/full"), "x")
  _write(Path("/dev/null"), "x")
  for name in ("/dev/full", "/dev/null"):
    assert stat.S_ISCHR(os.stat(name).st_mode)


@pytest.mark.parametrize("name", ["a" * 300, "loop/x"])
def test_a_place_that_cannot_be_is_one_line(tmp_path, name):
  (tmp_path / "loop").symlink_to("loop")
  with pytest.raises(UserError, match=r"could not be written: .*Name another"):
    _write(tmp_path / name, "x")


def test_a_pipe_is_written_to(tmp_path):
  path, found = tmp_path / "pipe", []
  os.mkfifo(path)
  reader = threading.Thread(target=lambda: found.append(path.read_text()))
  reader.start()
  _write(path, "all of it")
  reader.join()
  assert found == ["all of it"]
  assert stat.S_ISFIFO(os.stat(path).st_mode)


def test_a_descriptor_is_written_to(tmp_path):
  with (tmp_path / "log").open("a") as log:
    _write(Path(f"/dev/fd/{log.fileno()}"), "table")
  assert (tmp_path / "log").read_text() == "table"
  assert os.listdir(tmp_path) == ["log"]


def test_the_file_behind_a_link_is_replaced(tmp_path):
  (tmp_path / "there").mkdir()
  link, target = tmp_path / "newest.csv", tmp_path / "there" / "a.csv"
  link.symlink_to("there/a.csv")
  for text in ("first", "second"):
    _write(link, text)
    assert link.is_symlink()
    assert target.read_text() == text
  assert os.listdir(target.parent) == ["a.csv"]


def _write(path, text):
  with replacing(path) as file:
    file.write(text)


def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path):
  seen, other = tmp_path / "seen.png", tmp_path / "other.png"
  for path in (seen, other):
    path.write_text("")
  (tmp_path / "link.csv").symlink_to(seen)
  (tmp_path / "hard.csv").hardlink_to(seen)
  for name in "seen.png", "link.csv", "hard.csv", "./x/../seen.png":
    (tmp_path / "x").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"seen\.png, which is read.*another"):
      require_apart(str(tmp_path / name), [str(other), str(seen)])
  for output in "", str(tmp_path / "new.csv"), str(other):
    require_apart(output, [str(seen), str(tmp_path / "gone"), ""])
