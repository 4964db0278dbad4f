"""The shape of the code: who may import whom, read from the sources."""

import ast
from pathlib import Path

import pytest

from tests import sources


@pytest.fixture(scope="module", autouse=True)
def forgotten():
  """Trees of all files are millions of objects: later tests go without them."""
  yield
  sources.tree.cache_clear()
  sources.nodes.cache_clear()


def test_every_part_has_its_place():
  package = sources.ROOT / "protojax"
  parts = {p.name for p in package.iterdir() if any(p.glob("*.py"))}
  parts |= {p.stem for p in package.glob("*.py")} - {"__init__"}
  assert parts <= set(sources.LEVEL), (
    "name it in sources.LEVELS, above all that it imports"
  )


_FILES: dict[str, list[Path]] = {}
for _path in sources.python_files():
  _FILES.setdefault(sources.part(_path), []).append(_path)
of_every_part = pytest.mark.parametrize("part", sorted(_FILES))


@of_every_part
def test_files_keep_to_their_place(part):
  for path in _FILES[part]:
    tree = sources.tree(path)
    if part != "__init__":
      pages = part == "methods" and path.name == "pages.py"
      assert not sources.upward(part, tree, pages), path
    if part != "parallel":
      allowed = {"jax.default_backend"} if path.name == "conv.py" else set()
      assert sources.of_devices(tree) <= allowed, path
    if path.name != "bank.py" or part != "prototypes":
      assert not sources.of_bank(tree), f"{path}: ask `prototypes.bank`"
    assert path.stem not in ("utils", "common", "helpers"), path
    assert part.endswith(".py") or not sources.deep(path), path
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= sources.MAX_LINES, path
    assert ast.get_docstring(tree), f"{path}: say what the module is for"
    assert not sources.undocumented(tree), path


def test_methods_do_not_know_each_other():
  for folder in (sources.ROOT / "protojax" / "methods").glob("*/"):
    shared = "protojax.methods.base.", "protojax.methods.image_data"
    own = f"protojax.methods.{folder.name}.", *shared
    for path in folder.glob("*.py"):
      others = {
        name
        for name in sources.imports(sources.tree(path))
        if name.startswith("protojax.methods.") and not name.startswith(own)
      }
      assert not others, path


def test_what_one_method_needs_lies_in_its_folder():
  assert len(sources.ALONE) <= 5
  assert sources.alone(sources.modules()) == set(sources.ALONE)


@of_every_part
def test_methods_data_sets_and_commands_are_found_not_listed(part):
  _, data, _ = sources.named()
  for path in _FILES[part]:
    inside = path.relative_to(sources.ROOT).parts
    of_method = inside[:2] == ("protojax", "methods") and len(inside) > 3
    of_data = inside[:2] == ("protojax", "datasets") and path.stem in data
    if not (of_method or of_data):
      assert not sources.by_name(sources.tree(path)), path


def _unled(files: list[Path]) -> list[str]:
  """Files of a list that no earlier one imports or finds by its name."""
  methods, data, commands = sources.named()
  known = {f"protojax.methods.{name}.method" for name in methods}
  known |= {f"protojax.datasets.{name}" for name in data}
  known |= {f"protojax.commands.{name}" for name in commands}
  known |= {"protojax.operations.training", "protojax.operations.explaining"}
  known |= {"protojax.report.class_report", "train", "explain"}
  wrong = []
  for path in files:
    name = ".".join(path.relative_to(sources.ROOT).with_suffix("").parts)
    wrong += [name] * (name not in known)
    for found in sources.imports(sources.tree(path)):
      known |= {found, found.rpartition(".")[0]}
  return wrong


def test_the_lists_of_what_to_read_hold():
  """docs/code.md: each file leads to the next ones, and there are few."""
  text = (sources.ROOT / "docs" / "code.md").read_text(encoding="utf-8")
  _, section = text.split("## Where to begin\n", 1)
  blocks = section.split("\n## ")[0].split("```\n")[1::2]
  lists = [
    [sources.ROOT / line.split()[0] for line in b.splitlines()] for b in blocks
  ]
  for files, most in zip(lists, (21, 28), strict=True):
    assert len(files) <= most
    assert not _unled(files)


def test_configs_are_data():
  for path in (sources.ROOT / "configs").glob("*.py"):
    tree = sources.tree(path)
    assert ast.get_docstring(tree), path.name
    if path.stem == "variants":
      continue  # no config: what puts variants over one
    # By their installed name, which a clone has as well.
    for name in sources.imports(tree):
      assert name.startswith(("ml_collections", "protojax.configs")), path.name


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
  assert len(sources.upward(part, ast.parse(source))) == count


def test_only_special_pages_use_the_report():
  tree = ast.parse("from protojax.report import special_pages")
  assert not sources.upward("methods", tree, pages=True)
  for source in (
    "from protojax.methods.csr import pages",
    "from protojax.methods.csr.pages import pages",
    "import protojax.methods.csr.pages",
  ):
    assert sources.upward("methods", ast.parse(source))
    assert sources.upward("commands", ast.parse(source))


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
  assert bool(sources.of_devices(ast.parse(source))) == seen


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
  assert bool(sources.by_name(ast.parse(source))) == named


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
  assert len(sources.of_bank(ast.parse(source))) == count


def test_the_reader_of_folders_sees():
  package = sources.ROOT / "protojax"
  assert not sources.deep(package / "types.py")
  assert not sources.deep(package / "engine" / "run.py")
  assert not sources.deep(package / "methods" / "csr" / "network.py")
  assert not sources.deep(package / "report" / "templates" / "__init__.py")
  assert sources.deep(package / "engine" / "stages" / "fit.py")
  assert sources.deep(package / "methods" / "csr" / "losses" / "contrast.py")


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
  assert sources.alone(toy) == {"protojax.losses.one"}


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
  assert sources.undocumented(ast.parse(source)) == ["untold", "Told.untold"]


# Call -> the one module that makes it, so that names of others do no harm.
_GUARDED = {
  "print": "printing",
  "csv.writer": "csv_files",
  "csv.DictWriter": "csv_files",
}


def _called(tree: ast.Module) -> set[str]:
  """Names of what is called, with what they are attributes of."""
  nodes = sources.nodes(tree)
  return {sources.dotted(n.func) for n in nodes if isinstance(n, ast.Call)}


@of_every_part
def test_what_a_user_sees_is_written_in_one_place(part):
  for path in _FILES[part]:
    tree = sources.tree(path)
    others = {call for call, of in _GUARDED.items() if of != path.stem}
    assert not _called(tree) & others, path
    if path.stem != "console":
      assert "rich.console.Console" not in set(sources.imports(tree)), path


def test_the_reader_of_calls_sees():
  source = "def f(x): print(x); csv.writer(x).writerow(print)"
  assert _called(ast.parse(source)) & set(_GUARDED) == {"print", "csv.writer"}
