"""What leaves its own process is marked slow, read from the tests' sources."""

import ast
from collections.abc import Iterator
import functools
from pathlib import Path

import pytest

from tests.conftest import ROOT

_TESTS = ROOT / "tests"
# Modules that start a process or a browser.
_STARTERS = frozenset(("subprocess", "multiprocessing", "selenium"))
# Not slow in spite of it, and why.
_QUICK = {
  "commands/test_main.py::"
  "test_help_lists_every_file_and_imports_nothing_heavy": "0.1 s: no JAX",
  "data/test_images.py::test_nothing_starts_a_program": "none is started",
}


def _used(tree: ast.AST) -> Iterator[str]:
  """Names that are read, taken as arguments or imported within."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Name):
      yield node.id
    elif isinstance(node, ast.arg):
      yield node.arg
    elif isinstance(node, ast.Import):
      yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield (node.module or "").split(".")[0]


@functools.cache
def _tree(path: Path) -> ast.Module:
  return ast.parse(path.read_text("utf-8"), str(path))


@pytest.fixture(scope="module", autouse=True)
def forgotten():
  """Trees of all tests are millions of objects: later tests go without them."""
  clear = _tree.cache_clear
  yield
  clear()


@functools.cache
def _starting(path: Path) -> frozenset[str]:
  """Names in a module whose use starts a process, by way of any helper.

  A test gets fixtures of its conftest.py by naming them.
  """
  found = set(_STARTERS)
  if path.name != "conftest.py":
    for folder in path.parents:
      shared = folder / "conftest.py"
      if folder.is_relative_to(_TESTS) and shared.exists():
        found |= _starting(shared)
  uses = {}
  for node in _tree(path).body:
    if isinstance(node, ast.ImportFrom) and node.module:
      found.update(_imported(node))
    elif isinstance(node, ast.FunctionDef):
      uses[node.name] = set(_used(node))
  known = 0
  while known < len(found):
    known = len(found)
    found |= {name for name, used in uses.items() if found & used}
  return frozenset(found)


def _imported(node: ast.ImportFrom) -> Iterator[str]:
  """What starts a process among what is imported from other tests' files."""
  folder = ROOT / node.module.replace(".", "/")
  for alias in node.names:
    for path, name in (
      (folder.with_suffix(".py"), alias.name),
      (folder / f"{alias.name}.py", None),
    ):
      if path.is_relative_to(_TESTS) and path.exists():
        defined = {getattr(part, "name", None) for part in _tree(path).body}
        there = _starting(path) & defined
        if name in there or (name is None and there):
          yield alias.asname or alias.name


def _is_slow(node: ast.AST) -> bool:
  """Whether it is, or holds, `pytest.mark.slow`."""
  return any(
    isinstance(part, ast.Attribute) and part.attr == "slow"
    for part in ast.walk(node)
  )


def _unmarked(path: Path) -> list[str]:
  """Tests of a file that start a process and are not marked slow."""
  body = _tree(path).body
  marks = [node for node in body if isinstance(node, ast.Assign)]
  if any("pytestmark" in _used(node) and _is_slow(node) for node in marks):
    return []
  return [
    f"{path.relative_to(_TESTS).as_posix()}::{node.name}"
    for node in body
    if isinstance(node, ast.FunctionDef)
    and node.name.startswith("test_")
    and node.name in _starting(path)
    and not any(map(_is_slow, node.decorator_list))
  ]


def test_what_starts_a_process_is_marked_slow():
  found = {
    test for path in _TESTS.rglob("test_*.py") for test in _unmarked(path)
  }
  assert sorted(found - _QUICK.keys()) == [], "mark these with pytest.mark.slow"
  assert _QUICK.keys() <= found, "no exceptions any more"


@pytest.mark.parametrize(
  ("source", "expected"),
  [
    ("import subprocess\ndef test_a():\n  subprocess.run([])", ["test_a"]),
    ("def test_a(browser):\n  pass", ["test_a"]),
    (
      "from tests.common.processes import start as begin\n"
      "@fixture\ndef run():\n  begin([])\n"
      "def test_a(run):\n  pass\ndef test_b():\n  pass",
      ["test_a"],
    ),
    (
      "from tests.common import processes\n"
      "def test_a():\n  processes.start([])",
      ["test_a"],
    ),
    (
      "from tests.conftest import run_script\n"
      "@pytest.mark.slow\ndef test_a():\n  run_script()",
      [],
    ),
    ("pytestmark = pytest.mark.slow\ndef test_a(debug_run):\n  pass", []),
    ("def test_a(tmp_path):\n  subprocess = 1", ["test_a"]),
  ],
)
def test_the_rule_sees_through_helpers(source, expected, monkeypatch):
  path = _TESTS / "test_made_up.py"
  monkeypatch.setattr(f"{__name__}._tree", lambda p: _read(p, path, source))
  _starting.cache_clear()
  assert _unmarked(path) == [f"{path.name}::{name}" for name in expected]
  _starting.cache_clear()


def _read(path: Path, made_up: Path, source: str) -> ast.Module:
  return ast.parse(source if path == made_up else path.read_text("utf-8"))
