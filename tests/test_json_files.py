"""JSON of others: read as data, or refused in one line that says where."""

import ast
import json
import math
import os
from pathlib import Path
import re
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import pytest

from protojax import csv_files, json_files, text_files
from protojax.types import UserError
from tests import json_faults

_PACKAGE = Path(json_files.__file__).parent


class _Part(TypedDict):
  id: int
  share: NotRequired[float | None]


class _Whole(TypedDict):
  name: str
  parts: list[_Part]
  kind: NotRequired[Literal["a", "b"]]
  more: NotRequired[dict[str, Any]]


@pytest.mark.parametrize(
  ("content", "expected"),
  [
    ("x", str),
    (3, int),
    (3, float),
    (None, float | None),
    ([1, 2.5], list[float]),
    ({"a": ["b"]}, dict[str, list[str]]),
    ({"name": "ü", "parts": [{"id": 1, "share": None}], "new": 3}, _Whole),
    ({"name": "", "parts": [], "kind": "b", "more": {"a": [[]]}}, _Whole),
    ([{"a": True}, 1.5, None], Any),
    (-(1 << 63), int),
    ((1 << 64) - 1, int),
  ],
)
def test_what_is_as_expected_comes_back(tmp_path, content, expected):
  path = tmp_path / "a.json"
  path.write_text(json.dumps(content))
  assert json_files.read_json(path, expected) == content
  # As editors of Windows write it.
  path.write_text("\ufeff" + json.dumps(content, ensure_ascii=False), "utf-8")
  assert json_files.read_json(path, expected) == content


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("", "is not valid JSON"),
    ("{", "is not valid JSON"),
    ("[" * 100_000, "is not valid JSON: it is nested too deep"),
    ("[" * 40 + "]" * 40, "holds [[[...]]]; expected an object {...}"),
    ("1" * 5000, "a number of 5000 digits has more than 64 bits"),
    (str(1 << 64), "a number of 20 digits has more than 64 bits"),
    ("NaN", "NaN is no number of JSON"),
    ("[-Infinity]", "-Infinity is no number of JSON"),
    ("1e999", "the number 1e999 is too large"),
    ('{"a": 1, "b": 2, "a": 1}', "an object has the key 'a' twice"),
    ("3", "holds 3; expected an object {...}"),
    ("{}", "has no key 'name'"),
    ('{"name": 3, "parts": []}', "holds 3 at name; expected a text"),
    ('{"name": "{}", "parts": {}}', "holds {} at parts; expected a list [...]"),
    (
      '{"name": "", "parts": [{"id": 1}, {"id": true}]}',
      "holds True at parts[1].id; expected a whole number",
    ),
    ('{"name": "", "parts": [{}]}', "has no key 'id' at parts[0]"),
    (
      '{"name": "", "parts": [{"id": 1, "share": "x"}]}',
      "holds 'x' at parts[0].share; expected a number or null",
    ),
    ('{"name": "", "parts": [], "kind": "c"}', "expected 'a' or 'b'"),
    ('{"name": "\\u0000", "parts": []}', r"has the character '\x00' at name"),
    ('{"name": "\\ud800", "parts": []}', r"has the character '\ud800' at name"),
    (
      f'{{"name": "", "parts": [], "more": {{"a": {"[" * 50 + "]" * 50}}}}}',
      "is nested deeper than 32 levels",
    ),
  ],
)
def test_what_is_not_is_said_with_its_place(tmp_path, text, found):
  path = tmp_path / "a.json"
  path.write_text(text)
  with pytest.raises(UserError) as error:
    json_files.read_json(path, _Whole, "do this")
  told = str(error.value)
  assert told.startswith(f"{path} ")
  assert found in told
  assert told.endswith(": do this")
  assert len(told) < 400 + len(str(path))
  assert "\n" not in told


def _unreadable(folder):
  """Path -> what is said of it."""
  found = {
    folder / "none": "cannot be read: no such file",
    folder: "is a folder; a file is expected there",
    folder / ("x" * 300): "cannot be read: file name too long",
    folder / "a\0b": "embedded null",
    "\ud800": "cannot be read",
    "/dev/null": "is no regular file",
  }
  for name, content, told in (
    ("latin", b'"\xe4"', "is not text in UTF-8: byte 2 is 0xe4"),
    ("utf16", "[]".encode("utf-16"), "is not text"),
    ("nul", b"[1,\0]", "is not text: it has a NUL"),
  ):
    (folder / name).write_bytes(content)
    found[folder / name] = told
  os.mkfifo(folder / "pipe")
  found[folder / "pipe"] = "is no regular file, such as a pipe"
  (folder / "loop").symlink_to(folder / "loop")
  found[folder / "loop"] = "cannot be read: too many levels"
  return found


@pytest.mark.parametrize(
  "read",
  [
    lambda path: json_files.read_json(path, Any),
    lambda path: list(json_files.read_lines(path, Any)),
    text_files.read,
    csv_files.read,
  ],
  ids=["json", "lines", "text", "csv"],
)
def test_files_that_cannot_be_read(tmp_path, read):
  for path, told in _unreadable(tmp_path).items():
    with pytest.raises(UserError) as error:
      read(path)
    message = str(error.value).encode("utf-8", "backslashreplace").decode()
    assert told in message or "not valid JSON" in message
    assert "\n" not in message


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
  def refuse(*args):
    raise PermissionError(13, "Permission denied")

  (tmp_path / "a").write_text("[]")
  monkeypatch.setattr(Path, "open", refuse)
  with pytest.raises(UserError, match="cannot be read: permission denied"):
    json_files.read_json(tmp_path / "a", Any)


def test_a_file_that_is_too_long(tmp_path):
  (tmp_path / "a").write_text("12345")
  assert text_files.read(tmp_path / "a", 5) == "12345"
  with pytest.raises(UserError, match="more than 4 bytes"):
    text_files.read(tmp_path / "a", 4)
  with pytest.raises(UserError, match="line 1: more than 4 bytes"):
    list(text_files.lines(tmp_path / "a", 4))


def test_lines_are_numbered_and_a_cut_one_is_passed_over(tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_bytes(b'{"id": 1}\n\n{"id": 2}\n{"id": 3}')
  found = [(1, {"id": 1}), (3, {"id": 2}), (4, {"id": 3})]
  assert list(json_files.read_lines(path, _Part)) == found
  path.write_bytes(b'{"id": 1}\n\n{"id": 2}\n{"i\xc3')
  assert list(json_files.read_lines(path, _Part, cut=True)) == found[:2]
  with pytest.raises(UserError, match=r"a\.jsonl, line 4 is not valid JSON"):
    list(json_files.read_lines(path, _Part))
  path.write_bytes(b'{"id": 1}\n{"id": \n{"id": 3}\n')
  with pytest.raises(UserError, match=r"line 2 is not valid JSON.*: do this"):
    list(json_files.read_lines(path, _Part, "do this", cut=True))


@pytest.mark.parametrize(
  ("text", "found"),
  [
    ("a,b,a\n", "has the column 'a' twice"),
    ('a,b\n1,2\n3,"4\n5,6\n', r"line 4: unexpected end of data"),
    ('a,b\n1,"2"x\n', "line 2: "),
    ("a,b\n1," + "x" * 200_000, "line 2: field larger"),
  ],
)
def test_what_is_no_csv(tmp_path, text, found):
  path = tmp_path / "a.csv"
  path.write_text(text)
  with pytest.raises(UserError, match=rf"a\.csv.*{found}"):
    csv_files.read(path)


def test_rows_of_csv(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text('\ufeffa,b\r\n1,"x\ny"\r\n\r\n2\r\n3,4,5\r\n', "utf-8")
  columns, rows = csv_files.read(path)
  assert columns == ("a", "b")
  assert rows == (
    (3, {"a": "1", "b": "x\ny"}),
    (5, {"a": "2"}),
    (6, {"a": "3", "b": "4"}),
  )
  path.write_text("")
  assert csv_files.read(path) == ((), ())


def test_generated_faults_end_in_a_line(tmp_path):
  """Two hundred contents: each is as expected, or the message says why."""
  draw, path = np.random.default_rng(0), tmp_path / "a.json"
  right = {"name": "x", "parts": [{"id": 1, "share": 0.5}, {"id": 2}]}
  passed, refused = 0, []
  for _ in range(200):
    path.write_bytes(json_faults.faulty(right, draw))
    try:
      found = json_files.read_json(path, _Whole)
    except UserError as error:
      refused.append(str(error))
      continue
    passed += 1
    assert isinstance(found["name"], str)
    for part in found["parts"]:
      assert type(part["id"]) is int
      assert math.isfinite(part.get("share") or 0)
  assert 10 < passed < 190
  assert all(told.startswith(f"{path} ") for told in refused)
  assert not any("\n" in told for told in refused)


def _dotted(node):
  """Such as "json.loads"; of anything else than names, the last part."""
  if isinstance(node, ast.Attribute):
    return f"{_dotted(node.value)}.{node.attr}"
  return node.id if isinstance(node, ast.Name) else ""


def _readers(tree):
  """What a file calls to read JSON, YAML or text by itself."""
  found = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module == "json":
      found.add("from json import")
    if not isinstance(node, ast.Call):
      continue
    name = _dotted(node.func)
    if name in ("json.load", "json.loads", "csv.reader", "csv.DictReader"):
      found.add(name)
    if name.startswith("yaml.") or name.endswith(".read_text"):
      found.add(name.rpartition(".")[2])
  return found


# In every file that has such a call.
_MAY_READ = re.compile(
  r"json\s*\.\s*load|from\s+json|csv\s*\.\s*(reader|Dict)|yaml|read_text"
)
# Who reads by other means, and what.
_ALLOWED = {
  "json_files.py": {"json.loads"},
  "csv_files.py": {"csv.reader"},
  # As data, with a budget.
  "weights/yaml_keys.py": {"load"},
  # Files of the package itself.
  "report/page.py": {"read_text"},
  # The name in a lock, cut.
  "engine/workdir.py": {"read_text"},
}


def test_all_files_go_through_the_readers():
  found = {}
  for path in _PACKAGE.rglob("*.py"):
    text = path.read_text("utf-8")
    # Most files need not be parsed.
    if _MAY_READ.search(text) and (readers := _readers(ast.parse(text))):
      found[path.relative_to(_PACKAGE).as_posix()] = readers
  assert found == _ALLOWED


@pytest.mark.parametrize(
  ("source", "count"),
  [
    ("import json\njson.loads('')", 1),
    ("from json import loads", 1),
    ("import json\njson.dumps(1)", 0),
    ("import yaml\nyaml.safe_load('')", 1),
    ("import csv\ncsv.DictReader(f)\ncsv.writer(f)", 1),
    ("path.read_text()", 1),
  ],
)
def test_the_search_for_readers_sees(source, count):
  assert len(_readers(ast.parse(source))) == count
  assert _MAY_READ.search(source) or not count
