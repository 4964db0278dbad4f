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


def _doubled(first, again, last=""):
  """Lines in each of which stands twice what is in the line before."""
  lines = [f"a0: &a0 {first}"]
  for i in range(1, 40):
    lines.append(f"a{i}: &a{i} {again.format(f'*a{i - 1}')}")
  return "\n".join([*lines, last])


_HUNDRED = ", ".join(f"k{i}: 1" for i in range(100))
_MERGED = f"a: &a {{{_HUNDRED}}}\nb: [{'{<<: *a}, ' * 101}]"


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (_doubled("{}", "{{x: {0}, y: {0}}}"), "more than 10000 keys"),
    (_doubled("[x]", "[{0}, {0}]"), "more than 10000 keys"),
    (_MERGED, "more than 10000 keys"),
    (f"a: &a {'x' * 9999}\nb: [{'*a, ' * 99}]", "256 KB of text"),
    ("a: &a {b: *a}", "more than 10000 keys"),
    ("a: &a [*a]", "more than 10000 keys"),
    ("a: &a {<<: *a}", "is no YAML"),
    ("x" * 1001 + ": 1", "key xxx.* is too long"),
    ("a: 0x" + "f" * 9999, "more than 64 bits"),
    ("a: " + "1" * 9999, "is no YAML"),
    ("# " + "x" * 300_000, "has more than 262,144 bytes"),
  ],
)
def test_small_files_that_hold_much(tmp_path, text, message):
  with pytest.raises(UserError, match=message) as error:
    _read(tmp_path, text)
  assert len(str(error.value)) < 400


def test_one_merge_is_plain(tmp_path):
  keys = _read(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")
  assert keys.left() == {"a.x": 1, "a.y": 2, "b.x": 1, "b.y": 3}


def test_files_that_are_not_there(tmp_path):
  with pytest.raises(UserError, match=r"file\.yml cannot be read: no such"):
    Keys.read(tmp_path / "file.yml")
  (tmp_path / "file.yml").write_bytes(b"\xff\xfe\x00")
  with pytest.raises(UserError, match="is not text"):
    Keys.read(tmp_path / "file.yml")
