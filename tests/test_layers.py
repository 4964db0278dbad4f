"""The shape of the code: who may import whom, read from the sources."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]

# From the bottom up. A part imports from the rows above its own; those in one
# row do not know each other.
_LEVELS = (
  ("types",),
  ("writing",),
  ("parallel",),
  ("data",),
  ("backbones",),
  ("prototypes", "losses", "metrics", "diffusion"),
  ("train", "explain"),
  ("methods",),
  ("loading", "training"),
  ("cli",),
  ("configuration",),
  (
    "__main__",
    "evaluation",
    "exporting",
    "importing",
    "interact",
    "predict",
    "prepare",
    "train.py",
    "explain.py",
  ),
)
_LEVEL = {part: n for n, row in enumerate(_LEVELS) for part in row}

# Names that tell of devices and processes; `parallel` alone has them.
_OF_DEVICES = frozenset(
  (
    "devices",
    "local_devices",
    "device_count",
    "local_device_count",
    "process_index",
    "process_count",
    "distributed",
    "default_backend",
    "pmap",
    "shard_map",
    "make_mesh",
    "set_mesh",
    "sharding",
    "multihost_utils",
    "axis_index",
    "axis_size",
    "psum",
    "pmean",
    "pmax",
    "pmin",
    "all_gather",
    "all_to_all",
    "psum_scatter",
    "ppermute",
  )
)
_MAX_LINES = 400


def _python_files() -> list[Path]:
  package = (_ROOT / "protojax").rglob("*.py")
  return sorted([*package, _ROOT / "train.py", _ROOT / "explain.py"])


def _tree(path: Path) -> ast.Module:
  return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _part(path: Path) -> str:
  """What a file belongs to: a row's entry of `_LEVELS`."""
  inside = path.relative_to(_ROOT).parts
  if inside[0] != "protojax":
    return inside[0]
  return inside[1].removesuffix(".py")


def _imports(tree: ast.Module) -> Iterator[str]:
  """Dotted names of all that is imported, at whatever depth of the code."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      module = "." * node.level + (node.module or "")
      yield from (f"{module}.{alias.name}" for alias in node.names)


def _upward(part: str, tree: ast.Module) -> list[str]:
  """Imports of a part that its place does not allow."""
  wrong = []
  for name in _imports(tree):
    first, *rest = name.split(".")
    if first in ("", "train", "explain", "configs", "tests"):
      wrong.append(name)
    elif first == "protojax" and rest[0] != part:
      above = _LEVEL.get(rest[0], len(_LEVELS)) >= _LEVEL[part]
      wrong += [name] * above
  return wrong


def _of_devices(tree: ast.Module) -> set[str]:
  """What the code says of devices and processes through JAX."""
  said = {name for name in _imports(tree) if name.startswith("jax.")}
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute):
      said.add(ast.unparse(node))
  return {
    name
    for name in said
    if name.startswith(("jax.", "lax."))
    and not _OF_DEVICES.isdisjoint(name.split("."))
  }


def _undocumented(tree: ast.Module) -> list[str]:
  """Public classes, functions and methods without a docstring."""
  kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
  found = []

  def visit(body: list[ast.stmt], prefix: str) -> None:
    for node in body:
      if isinstance(node, kinds) and not node.name.startswith("_"):
        if not ast.get_docstring(node):
          found.append(prefix + node.name)
        if isinstance(node, ast.ClassDef):
          visit(node.body, f"{prefix}{node.name}.")

  visit(tree.body, "")
  return found


def test_every_part_has_its_place():
  package = _ROOT / "protojax"
  parts = {p.name for p in package.iterdir() if any(p.glob("*.py"))}
  parts |= {p.stem for p in package.glob("*.py")} - {"__init__"}
  assert parts <= set(_LEVEL), "name it in _LEVELS, above all that it imports"


@pytest.mark.parametrize(
  "path", _python_files(), ids=lambda p: str(p.relative_to(_ROOT))
)
def test_a_file_keeps_to_its_place(path):
  tree = _tree(path)
  part = _part(path)
  if part != "__init__":
    assert not _upward(part, tree)
  if part != "parallel":
    allowed = {"jax.default_backend"} if path.name == "conv.py" else set()
    assert _of_devices(tree) <= allowed
  assert path.stem != "utils"
  assert len(path.relative_to(_ROOT).parts) <= 3
  assert len(path.read_text(encoding="utf-8").splitlines()) <= _MAX_LINES
  assert ast.get_docstring(tree), "say what the module is for"
  assert not _undocumented(tree)


def test_methods_do_not_know_each_other():
  for path in (_ROOT / "protojax" / "methods").glob("*.py"):
    others = {
      name
      for name in _imports(_tree(path))
      if name.startswith("protojax.methods.")
      and not name.startswith("protojax.methods.base.")
    }
    assert not others, path.name


def test_configs_are_data():
  for path in (_ROOT / "configs").glob("*.py"):
    tree = _tree(path)
    firsts = {name.split(".")[0] for name in _imports(tree)}
    assert firsts <= {"ml_collections", "configs"}, path.name
    assert ast.get_docstring(tree), path.name


@pytest.mark.parametrize(
  ("part", "source", "count"),
  [
    ("explain", "from protojax.engine import log", 1),
    ("train", "import protojax.report.sentences", 1),
    ("train", "from protojax import explain", 1),
    ("losses", "from protojax.prototypes import distance", 1),
    ("data", "def f():\n  from protojax import backbones", 1),
    ("data", "from . import images", 1),
    ("methods", "import train", 1),
    ("types", "from protojax import nowhere", 1),
    ("methods", "from protojax import parallel\nimport jax", 0),
    ("data", "from protojax.data import images", 0),
  ],
)
def test_the_reader_of_imports_sees(part, source, count):
  assert len(_upward(part, ast.parse(source))) == count


@pytest.mark.parametrize(
  ("source", "seen"),
  [
    ("import jax\nn = jax.device_count()", True),
    ("import jax\nf = jax.lax.psum(1, 'devices')", True),
    ("from jax import lax\nf = lax.all_gather", True),
    ("from jax.sharding import Mesh", True),
    ("from jax.experimental import multihost_utils", True),
    ("import jax\nx: jax.Array = jax.random.key(0)", False),
    ("from protojax import parallel\nparallel.psum(1)", False),
  ],
)
def test_the_reader_of_devices_sees(source, seen):
  assert bool(_of_devices(ast.parse(source))) == seen


def test_the_reader_of_docstrings_sees():
  source = """
def told():
  "Told."
def untold():
  pass
def _own():
  pass
class Told:
  "Told."
  def untold(self):
    pass
  def __call__(self):
    pass
"""
  assert _undocumented(ast.parse(source)) == ["untold", "Told.untold"]
