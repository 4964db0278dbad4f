"""Listing: configs -> their names, or the keys of one with their comments."""

import argparse
import ast
from collections.abc import Iterator
import importlib
from pathlib import Path
import shlex

from ml_collections import ConfigDict

from protojax import configuration, printing, text_files, typed


def run(args: argparse.Namespace) -> int:
  """Prints all configs, or one.

  Raises:
    UserError: there is no such config.
  """
  printing.say(*(described(args.name) if args.name else listed()))
  return 0


def listed() -> list[str]:
  """A line for each of our configs: its name and what it is for."""
  names = configuration.names()
  width = max(map(len, names))
  return [f"{name:{width}}  {_purpose(name)[0]}" for name in names]


def described(file: str) -> list[str]:
  """What a config is for, and its keys, each below what is said of it.

  Args:
    file: as `configuration.load` takes it.
  """
  config = configuration.read(file)
  comments = _comments(Path(configuration.place(file)))
  lines = [*_purpose(file), ""]
  for key, value in _flat(config):
    lines += [f"# {line}" for line in comments.get(key, ())]
    if not isinstance(value, ConfigDict):
      lines.append(f"--config.{key}={_value(value)}")
  return lines


def _purpose(file: str) -> list[str]:
  """The docstring of a config."""
  tree = ast.parse(text_files.read(configuration.place(file)))
  return typed.here(ast.get_docstring(tree) or "").splitlines() or [""]


def _flat(config: ConfigDict, before: str = "") -> Iterator[tuple[str, object]]:
  """(key with dots, value) in order; a group comes before its keys."""
  for key, value in config.items():
    yield before + key, value
    if isinstance(value, ConfigDict):
      yield from _flat(value, f"{before}{key}.")


def _value(value: object) -> str:
  """A value as it is typed in a shell."""
  text = str(value)
  if isinstance(value, tuple):
    # Python reads either; a shell keeps double quotes in single ones.
    text = text.replace("'", '"')
  return shlex.quote(text)


def _comments(file: Path) -> dict[str, list[str]]:
  """Key -> the lines of comment above it, here or in a config it is made of."""
  text = text_files.read(file)
  tree, found = ast.parse(text), {}
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module == configuration.OURS:
      for name in node.names:
        found |= _comments(_module(name.name))
  lines = text.splitlines()
  for node in ast.walk(tree):
    if isinstance(node, ast.Call) and _is_config(node.func):
      found |= dict(_above(node.args, lines))
  return found


def _module(name: str) -> Path:
  (folder,) = importlib.import_module(configuration.OURS).__path__
  return Path(folder) / f"{name}.py"


def _is_config(function: ast.expr) -> bool:
  return isinstance(function, ast.Name) and function.id == ConfigDict.__name__


def _above(
  values: list[ast.expr], lines: list[str], before: str = ""
) -> Iterator[tuple[str, list[str]]]:
  """(key with dots, comment above it) of dictionaries in a source."""
  for value in values:
    if not isinstance(value, ast.Dict):
      continue
    for key, inner in zip(value.keys, value.values, strict=True):
      if not isinstance(key, ast.Constant):
        continue
      name, end = f"{before}{key.value}", key.lineno - 1
      start = end
      while lines[start - 1].lstrip().startswith("#"):
        start -= 1
      if start < end:
        yield name, [line.strip()[2:] for line in lines[start:end]]
      yield from _above([inner], lines, f"{name}.")
