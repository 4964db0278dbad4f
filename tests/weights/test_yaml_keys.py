"""Keys of YAML: a file is read as data only."""

import pytest

from protojax.types import UserError
from protojax.weights.yaml_keys import Keys


def _read(tmp_path, text):
  path = tmp_path / "file.yml"
  path.write_text(text, encoding="utf-8")
  return Keys.read(path)


def test_keys_are_taken_once(tmp_path):
  keys = _read(tmp_path, "a: {b: {c: 1, d: [2, 3]}, e: x}\nf: null")
  assert keys.below("a") == ["a.b", "a.e"]
  assert keys.has("a.b.c")
  assert not keys.has("a.b")
  assert keys.take("a.b.c") == 1
  assert keys.take("a.b.c", 7) == 7
  assert keys.take("f", 7) is None
  assert keys.left() == {"a.b.d": [2, 3], "a.e": "x"}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("!!python/object/apply:os.system ['touch trace']", "is no YAML"),
    ("a: !!python/name:os.system", "is no YAML"),
    ("a: [", "is no YAML"),
    ("", "holds no keys"),
    ("- a\n- b", "holds no keys"),
    ("a: " + "[" * 900, "is no YAML"),
  ],
)
def test_what_is_no_data_is_refused(tmp_path, monkeypatch, text, message):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=message):
    _read(tmp_path, text)
  assert not (tmp_path / "trace").exists()


def test_aliases_of_aliases_end(tmp_path):
  lines = ["a0: &a0 {x: 1, y: 2}"] + [
    f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 40)
  ]
  with pytest.raises(UserError, match="more than 10000 keys"):
    _read(tmp_path, "\n".join(lines))


def test_files_that_are_not_there(tmp_path):
  with pytest.raises(UserError, match=r"cannot read .*file\.yml: no such"):
    Keys.read(tmp_path / "file.yml")
  (tmp_path / "file.yml").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(UserError, match="is no YAML"):
    Keys.read(tmp_path / "file.yml")
