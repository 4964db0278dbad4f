"""The shape of the code: who may import whom, read from the sources."""

import ast
from collections.abc import Iterator
import functools
from pathlib import Path

import pytest

from protojax import cli, finding

_ROOT = Path(__file__).parents[1]

# From the bottom up (docs/code.md). A part imports from the rows above its own;
# those in one row do not know each other.
_LEVELS = (
  ("types",),
  ("writing", "finding", "shown"),
  ("text_files",),
  ("json_files", "csv_files"),
  ("parallel",),
  ("modify",),
  ("data",),
  ("datasets", "weights"),
  ("layers",),
  ("backbones", "text", "diffusion"),
  ("prototypes", "losses", "metrics"),
  ("engine", "heat"),
  ("explain",),
  ("agents", "report"),
  ("methods",),
  ("loading",),
  ("configuration",),
  ("evaluation", "interact", "commands", "cli"),
  ("__main__",),
  ("train.py", "explain.py"),
)
_LEVEL = {part: n for n, row in enumerate(_LEVELS) for part in row}
# These take from all, from each other too: the command line finds commands, and
# they read their numbers through it.
_TOP = {"evaluation", "interact", "commands", "cli"}

# Of these each module serves two methods or more; what one method alone needs
# lies in its folder.
_SHARED = ("prototypes", "losses", "engine", "heat", "explain", "report")
# Module -> why it stays though one method alone reaches it; five at most.
_ALONE: dict[str, str] = {}
# Folders -> folders that may lie in them.
_INNER = {"methods": None, "report": {"templates"}}

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
# Where a state keeps its prototypes: `prototypes.bank` alone says it.
_OF_BANK = ("class_of", "alive", "provenance")
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


def _upward(part: str, tree: ast.Module, pages: bool = False) -> list[str]:
  """Imports of a part that its place does not allow.

  Args:
    part: see `_part`.
    tree: of a file.
    pages: whether it is a method's module of special pages.
  """
  wrong = []
  for name in _imports(tree):
    first, *rest = name.split(".")
    if first in ("", "train", "explain", "configs", "tests") or (
      name.startswith("protojax.methods.") and "pages" in rest
    ):
      wrong.append(name)
    elif first == "protojax" and rest[0] != part:
      above = _LEVEL.get(rest[0], len(_LEVELS)) >= _LEVEL[part]
      above &= not {part, rest[0]} <= _TOP
      # A method gives evidence; what is made of it is the report's alone, and
      # that of the method's own pages, which are found by name.
      above |= part == "methods" and rest[0] == "report" and not pages
      wrong += [name] * above
  return wrong


def _deep(path: Path) -> bool:
  """Whether a file of the package lies in a folder where none may be."""
  room, *folders = path.relative_to(_ROOT / "protojax").parts[:-1] or [""]
  if not folders:
    return False
  allowed = _INNER.get(room, set())
  return len(folders) > 1 or (allowed is not None and folders[0] not in allowed)


def _modules() -> dict[str, set[str]]:
  """Module of the package -> modules of the package that it imports."""
  files = {
    ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(
      ".__init__"
    ): path
    for path in (_ROOT / "protojax").rglob("*.py")
  }
  return {
    name: {
      # `from protojax.a import b` names a module b, or something in a.
      found if found in files else found.rpartition(".")[0]
      for found in _imports(_tree(path))
      if found.startswith("protojax.")
    }
    for name, path in files.items()
  }


def _declaring(function: str) -> tuple[str, ...]:
  return finding.names("protojax.datasets", function)


@functools.cache
def _named() -> tuple[set[str], set[str], set[str]]:
  """Names of all methods, data sets and commands."""
  package = _ROOT / "protojax"
  return (
    {path.parent.name for path in package.glob("methods/*/method.py")},
    {name for f in ("load", "collect") for name in _declaring(f)},
    set(cli.modules()),
  )


def _by_name(tree: ast.Module) -> set[str]:
  """Methods and data sets that code knows by name, and commands that it lists.

  It may not import them, compare with their names, or hold tables of them.
  """
  methods, data, commands = _named()
  prefixes = {f"protojax.methods.{name}" for name in methods}
  prefixes |= {f"protojax.datasets.{name}" for name in data}
  texts = {
    node.value
    for node in ast.walk(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
  }
  found = {
    name
    for name in {*_imports(tree), *texts}
    if any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)
  }
  for node in ast.walk(tree):
    match node:
      case ast.Compare():
        sides = {text for side in ast.walk(node) for text in _text(side)}
        found |= sides & (methods | data)
      case ast.MatchValue():
        found |= {*_text(node.value)} & (methods | data)
      case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
        parts = node.keys if isinstance(node, ast.Dict) else node.elts
        held = {text for part in parts if part for text in _text(part)}
        for names in (methods, data, commands):
          found |= held & names if len(held & names) > 1 else set()
  return found


def _text(node: ast.AST) -> Iterator[str]:
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    yield node.value


def _reached(modules: dict[str, set[str]], prefix: str) -> set[str]:
  """All that a folder's modules import, and what that imports in turn.

  Special pages are left out: they use the report, which methods do not.
  """
  seen, todo = (
    set(),
    [
      name
      for name in modules
      if name.startswith(prefix) and not name.endswith(".pages")
    ],
  )
  while todo:
    name = todo.pop()
    if name not in seen:
      seen.add(name)
      todo += modules.get(name, set())
  return seen


def _alone(modules: dict[str, set[str]]) -> set[str]:
  """Shared modules that one method alone reaches."""
  methods = {
    name.split(".")[2]
    for name in modules
    if name.startswith("protojax.methods.") and name.endswith(".method")
  }
  reached = [_reached(modules, f"protojax.methods.{m}.") for m in methods]
  assert len(methods) > 1
  return {
    name
    for name in modules
    if name.count(".") > 1
    and name.split(".")[1] in _SHARED
    and sum(name in found for found in reached) == 1
  }


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


def _of_bank(tree: ast.Module) -> list[str]:
  """Where code reaches for prototypes past the bank.

  That is `...["prototypes"]["prototypes"]`, a mapping written with both keys,
  and `buffers["class_of"]` and the like.
  """
  found = []
  for node in ast.walk(tree):
    if isinstance(node, ast.Subscript):
      keys, inner = [_key(node.slice)], node.value
      if isinstance(inner, ast.Subscript):
        keys.append(_key(inner.slice))
      name = ast.unparse(inner).split(".")[-1]
      reaches = keys == ["prototypes"] * 2
      reaches |= name == "buffers" and keys[0] in _OF_BANK
      found += [ast.unparse(node)] * reaches
    elif isinstance(node, ast.Dict):
      found += [
        ast.unparse(value)
        for key, value in zip(node.keys, node.values, strict=True)
        if _key(key) == "prototypes"
        and isinstance(value, ast.Dict)
        and "prototypes" in map(_key, value.keys)
      ]
  return found


def _key(node: ast.expr | None) -> object:
  return node.value if isinstance(node, ast.Constant) else None


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
    pages = part == "methods" and path.name == "pages.py"
    assert not _upward(part, tree, pages)
  if part != "parallel":
    allowed = {"jax.default_backend"} if path.name == "conv.py" else set()
    assert _of_devices(tree) <= allowed
  if path.name != "bank.py" or part != "prototypes":
    assert not _of_bank(tree), "ask a network or `prototypes.bank`"
  assert path.stem not in ("utils", "common", "helpers")
  assert part.endswith(".py") or not _deep(path)
  assert len(path.read_text(encoding="utf-8").splitlines()) <= _MAX_LINES
  assert ast.get_docstring(tree), "say what the module is for"
  assert not _undocumented(tree)


def test_methods_do_not_know_each_other():
  for folder in (_ROOT / "protojax" / "methods").glob("*/"):
    own = f"protojax.methods.{folder.name}.", "protojax.methods.base."
    for path in folder.glob("*.py"):
      others = {
        name
        for name in _imports(_tree(path))
        if name.startswith("protojax.methods.") and not name.startswith(own)
      }
      assert not others, path


def test_what_one_method_needs_lies_in_its_folder():
  assert len(_ALONE) <= 5
  assert _alone(_modules()) == set(_ALONE)


@pytest.mark.parametrize(
  "path", _python_files(), ids=lambda p: str(p.relative_to(_ROOT))
)
def test_methods_data_sets_and_commands_are_found_not_listed(path):
  _, data, _ = _named()
  inside = path.relative_to(_ROOT).parts
  of_method = inside[:2] == ("protojax", "methods") and len(inside) > 3
  of_data = inside[:2] == ("protojax", "datasets") and path.stem in data
  if not (of_method or of_data):
    assert not _by_name(_tree(path))


def _unled(files: list[Path]) -> list[str]:
  """Files of a list that no earlier one imports or finds by its name."""
  methods, data, commands = _named()
  known = {f"protojax.methods.{name}.method" for name in methods}
  known |= {f"protojax.datasets.{name}" for name in data}
  known |= {f"protojax.commands.{name}" for name in commands}
  known |= {"protojax.report.class_report", "train", "explain"}
  wrong = []
  for path in files:
    name = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
    wrong += [name] * (name not in known)
    for found in _imports(_tree(path)):
      known |= {found, found.rpartition(".")[0]}
  return wrong


def test_the_lists_of_what_to_read_hold():
  """docs/code.md: each file leads to the next ones, and there are few."""
  text = (_ROOT / "docs" / "code.md").read_text(encoding="utf-8")
  _, section = text.split("## Where to begin\n", 1)
  blocks = section.split("\n## ")[0].split("```\n")[1::2]
  lists = [[_ROOT / line.split()[0] for line in b.splitlines()] for b in blocks]
  for files, most in zip(lists, (20, 28), strict=True):
    assert len(files) <= most
    assert not _unled(files)


def test_configs_are_data():
  for path in (_ROOT / "configs").glob("*.py"):
    tree = _tree(path)
    firsts = {name.split(".")[0] for name in _imports(tree)}
    assert firsts <= {"ml_collections", "configs"}, path.name
    assert ast.get_docstring(tree), path.name


@pytest.mark.parametrize(
  ("part", "source", "count"),
  [
    ("heat", "from protojax.engine import log", 1),
    ("engine", "import protojax.explain.sweep", 1),
    ("engine", "from protojax import explain", 1),
    ("methods", "from protojax.report import page", 1),
    ("commands", "from protojax.report import page", 0),
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


def test_only_special_pages_use_the_report():
  tree = ast.parse("from protojax.report import special_pages")
  assert not _upward("methods", tree, pages=True)
  for source in (
    "from protojax.methods.csr import pages",
    "from protojax.methods.csr.pages import pages",
    "import protojax.methods.csr.pages",
  ):
    assert _upward("methods", ast.parse(source))
    assert _upward("commands", ast.parse(source))


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


@pytest.mark.parametrize(
  ("source", "named"),
  [
    ("from protojax.methods.csr import network", True),
    ("from protojax.methods import csr", True),
    ("def f():\n  import protojax.methods.epic.method", True),
    ("from protojax.datasets import files, photos", True),
    ("from protojax.datasets.folder import load", True),
    ("load('protojax.methods.epic.method')", True),
    ("if config.method == 'protopnet':\n  pass", True),
    ("ok = name not in ('photos', 'x')", True),
    ("match name:\n  case 'inp_former':\n    pass", True),
    ("table = {'photos': 1, 'planted': 2}", True),
    ("commands = ['train', 'explain']", True),
    ("from protojax.methods import base\nfrom protojax import methods", False),
    ("from protojax.datasets import dataset, files", False),
    ("splits = ('train', 'test')", False),
    ("default = 'protopnet'", False),
    ("row = {'boxes': found}", False),
  ],
)
def test_the_reader_of_names_sees(source, named):
  assert bool(_by_name(ast.parse(source))) == named


@pytest.mark.parametrize(
  ("source", "count"),
  [
    ('x = state.params["prototypes"]["prototypes"]', 1),
    ('x = params["prototypes"]["prototypes"][:, 0]', 1),
    ('params = {"head": h, "prototypes": {"prototypes": x}}', 1),
    ('x = state.buffers["alive"], buffers["provenance"].image', 2),
    ('x = params["prototypes"], state.buffers["step"]', 0),
    ('x = {"prototypes": x}, found["prototypes"]["vectors"]', 0),
    ("x = bank.vectors, bank.alive", 0),
  ],
)
def test_the_reader_of_banks_sees(source, count):
  assert len(_of_bank(ast.parse(source))) == count


def test_the_reader_of_folders_sees():
  package = _ROOT / "protojax"
  assert not _deep(package / "types.py")
  assert not _deep(package / "engine" / "run.py")
  assert not _deep(package / "methods" / "csr" / "network.py")
  assert not _deep(package / "report" / "templates" / "__init__.py")
  assert _deep(package / "engine" / "stages" / "fit.py")
  assert _deep(package / "methods" / "csr" / "losses" / "contrast.py")


def test_the_reader_of_methods_sees():
  toy = {
    "protojax.methods.a.method": {
      "protojax.losses.both",
      "protojax.losses.one",
    },
    "protojax.methods.b.method": {"protojax.losses.both"},
    "protojax.losses.both": {"protojax.engine.through"},
    "protojax.losses.one": {"protojax.metrics.library"},
    "protojax.engine.through": set(),
    "protojax.metrics.library": set(),
  }
  assert _alone(toy) == {"protojax.losses.one"}


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
