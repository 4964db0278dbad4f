"""What the sources say: who imports whom, and what code reaches for."""

import ast
from collections.abc import Iterator
import functools
from pathlib import Path

from protojax import cli, finding

ROOT = Path(__file__).parents[1]

# From the bottom up (docs/code.md). A part imports from the rows above its own;
# those in one row do not know each other.
LEVELS = (
  ("__version__", "errors", "printing", "leftovers"),
  ("types", "console", "signals", "installed"),
  ("writing", "finding", "shown"),
  ("text_files", "ranges", "typed", "configs"),
  ("json_files", "csv_files"),
  ("parallel",),
  ("modify",),
  ("data",),
  ("datasets", "weights"),
  ("layers",),
  ("backbones", "text"),
  ("diffusion",),
  ("prototypes", "losses", "metrics"),
  ("engine", "heat"),
  ("explain",),
  ("agents", "report"),
  ("methods",),
  ("any_model", "configuration", "loading", "why"),
  ("hub",),
  ("model",),
  ("evaluation", "interact", "commands", "operations", "cli"),
  ("__main__", "learning"),
  ("train.py", "explain.py"),
)
LEVEL = {part: n for n, row in enumerate(LEVELS) for part in row}
# These take from all, from each other too: the command line finds commands, and
# they read their numbers through it.
_TOP = {"evaluation", "interact", "commands", "operations", "cli"}

# Of these each module serves two methods or more; what one method alone needs
# lies in its folder.
_SHARED = ("prototypes", "losses", "engine", "heat", "explain", "report")
# Module -> why it stays though one method alone reaches it; five at most.
ALONE: dict[str, str] = {}
# Folders -> folders that may lie in them.
_INNER = {"methods": None, "report": {"templates"}, "diffusion": {"stable"}}

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
MAX_LINES = 400


def python_files() -> list[Path]:
  package = (ROOT / "protojax").rglob("*.py")
  return sorted([*package, ROOT / "train.py", ROOT / "explain.py"])


@functools.cache
def tree(path: Path) -> ast.Module:
  return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part(path: Path) -> str:
  """What a file belongs to: a row's entry of `LEVELS`."""
  inside = path.relative_to(ROOT).parts
  if inside[0] != "protojax":
    return inside[0]
  return inside[1].removesuffix(".py")


@functools.cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
  """All nodes of a tree."""
  return tuple(ast.walk(tree))


def imports(tree: ast.Module) -> Iterator[str]:
  """Dotted names of all that is imported, at whatever depth of the code."""
  for node in nodes(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      module = "." * node.level + (node.module or "")
      yield from (f"{module}.{alias.name}" for alias in node.names)


def dotted(node: ast.AST) -> str:
  """A name with its attributes, such as "jax.lax.psum"; else ''."""
  names = []
  while isinstance(node, ast.Attribute):
    names.append(node.attr)
    node = node.value
  if not isinstance(node, ast.Name):
    return ""
  return ".".join([node.id, *reversed(names)])


def upward(part: str, tree: ast.Module, pages: bool = False) -> list[str]:
  """Imports of a part that its place does not allow.

  Args:
    part: see `part`.
    tree: of a file.
    pages: whether it is a method's module of special pages.
  """
  wrong = []
  for name in imports(tree):
    first, *rest = name.split(".")
    if first in ("", "train", "explain", "configs", "tests") or (
      name.startswith("protojax.methods.") and "pages" in rest
    ):
      wrong.append(name)
    elif first == "protojax" and rest[0] != part:
      above = LEVEL.get(rest[0], len(LEVELS)) >= LEVEL[part]
      above &= not {part, rest[0]} <= _TOP
      # A method gives evidence; what is made of it is the report's alone, and
      # that of the method's own pages, which are found by name.
      above |= part == "methods" and rest[0] == "report" and not pages
      wrong += [name] * above
  return wrong


def deep(path: Path) -> bool:
  """Whether a file of the package lies in a folder where none may be."""
  room, *folders = path.relative_to(ROOT / "protojax").parts[:-1] or [""]
  if not folders:
    return False
  allowed = _INNER.get(room, set())
  return len(folders) > 1 or (allowed is not None and folders[0] not in allowed)


def modules() -> dict[str, set[str]]:
  """Module of the package -> modules of the package that it imports."""
  files = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
      ".__init__"
    ): path
    for path in (ROOT / "protojax").rglob("*.py")
  }
  return {
    name: {
      # `from protojax.a import b` names a module b, or something in a.
      found if found in files else found.rpartition(".")[0]
      for found in imports(tree(path))
      if found.startswith("protojax.")
    }
    for name, path in files.items()
  }


def _declaring(function: str) -> tuple[str, ...]:
  return finding.names("protojax.datasets", function)


@functools.cache
def named() -> tuple[set[str], set[str], set[str]]:
  """Names of all methods, data sets and commands."""
  package = ROOT / "protojax"
  return (
    {path.parent.name for path in package.glob("methods/*/method.py")},
    {name for f in ("load", "collect") for name in _declaring(f)},
    set(cli.modules()),
  )


def by_name(tree: ast.Module) -> set[str]:
  """Methods and data sets that code knows by name, and commands that it lists.

  It may not import them, compare with their names, or hold tables of them.
  """
  methods, data, commands = named()
  prefixes = {f"protojax.methods.{name}" for name in methods}
  prefixes |= {f"protojax.datasets.{name}" for name in data}
  texts = {
    node.value
    for node in nodes(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
  }
  found = {
    name
    for name in {*imports(tree), *texts}
    if any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)
  }
  for node in nodes(tree):
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


def alone(modules: dict[str, set[str]]) -> set[str]:
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


def of_devices(tree: ast.Module) -> set[str]:
  """What the code says of devices and processes through JAX."""
  said = {name for name in imports(tree) if name.startswith("jax.")}
  said |= {dotted(n) for n in nodes(tree) if isinstance(n, ast.Attribute)}
  return {
    name
    for name in said
    if name.startswith(("jax.", "lax."))
    and not _OF_DEVICES.isdisjoint(name.split("."))
  }


def of_bank(tree: ast.Module) -> list[str]:
  """Where code reaches for prototypes past the bank.

  That is `...["prototypes"]["prototypes"]`, a mapping written with both keys,
  and `buffers["class_of"]` and the like.
  """
  found = []
  for node in nodes(tree):
    if isinstance(node, ast.Subscript):
      keys, inner = [_key(node.slice)], node.value
      if isinstance(inner, ast.Subscript):
        keys.append(_key(inner.slice))
      name = getattr(inner, "attr", getattr(inner, "id", ""))
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


def undocumented(tree: ast.Module) -> list[str]:
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
