"""A run's folder: which config it holds, and how later commands find it."""

import collections
from collections.abc import Callable, Iterator, Mapping
import contextlib
import fcntl
import os
from pathlib import Path
import platform
from typing import Any, NotRequired, TypedDict

from ml_collections import ConfigDict

from protojax import json_files, parallel, typed
from protojax.shown import shown
from protojax.types import UserError
from protojax.writing import json_text, replacing

# Name of a method -> config keys that its earlier runs were written without ->
# the value that does what those runs did; `methods.later`.
Later = Callable[[str], Mapping[str, Any]]

# The same for runs of any method.
_LATER = {
  "seeds": 1,
  "backbone.weights": "",
  "backbone.dtype": "float32",
  "backbone.remat": False,
}


# Ends messages about a damaged file of a run.
_WAY_OUT = "restore it, or take another --workdir"


class _Data(TypedDict):
  """Where the examples are."""

  name: NotRequired[str]
  root: NotRequired[str]
  train: NotRequired[str]
  test: NotRequired[str]


class _Backbone(TypedDict):
  """Which network comes first."""

  name: NotRequired[str]
  weights: NotRequired[str]
  dtype: NotRequired[str]


class _Config(TypedDict):
  """What config.json has whatever the method; the rest is the method's."""

  method: str
  seed: int
  init_from: NotRequired[str]
  data: NotRequired[_Data]
  backbone: NotRequired[_Backbone]


def claim(workdir: Path, config: ConfigDict, later: Later) -> None:
  """Writes the config into a new workdir, or compares it with the old one.

  A run that has saved nothing yet, such as after a mistake in its config, does
  not count: its config is overwritten.

  Args:
    workdir: of the run.
    config: of the run.
    later: which keys a method got later.

  Raises:
    UserError: the workdir holds a run with another config; names the keys.
  """
  path = Path(workdir) / "config.json"
  wanted = _plain(config)
  if has_begun(workdir):
    found = _completed(_read(path, _Config), later, path)
    wanted = _completed(wanted, later, "the config")
    _compare(_flat(found), _flat(wanted), workdir)
  elif parallel.is_primary():
    write_json(path, wanted)


def _plain(config: ConfigDict) -> dict[str, Any]:
  """The config in types that JSON has."""
  try:
    return json_files.parsed(config.to_json(), dict[str, Any])
  except UserError as error:
    raise UserError(f"the config {error}") from error


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
  """Keeps other commands from training in a workdir at the same time.

  The system frees the lock when the process ends, however it ends. A disk
  without locks, as some of a network, gives none.

  Raises:
    UserError: another command trains there; says which.
  """
  with contextlib.ExitStack() as held:
    who = ""
    if parallel.is_primary():
      who = _hold(Path(workdir) / ".lock", held)
    # All processes of a run end together.
    if parallel.any_process(bool(who)):
      raise UserError(
        f"{workdir} is trained in by {who or 'another command'}: wait for its"
        " end, end it, or take another --workdir."
      )
    yield


def _hold(path: Path, held: contextlib.ExitStack) -> str:
  """Locks a file until `held` ends; says who has it, or ''."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = held.enter_context(path.open("a+"))
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
  except BlockingIOError:
    return path.read_text()[:200].strip() or "another command"
  except OSError:
    pass  # A disk without locks or without room; who writes there will say so.
  return ""


def has_begun(workdir: Path) -> bool:
  """Whether a run has saved a checkpoint there.

  An empty folder of checkpoints is left when the first one could not be
  written.
  """
  found = (Path(workdir) / "checkpoints").glob("*")
  return any(path.name.isdecimal() for path in found)


def _compare(
  found: dict[str, Any], wanted: dict[str, Any], workdir: Path
) -> None:
  keys = sorted(set(found) | set(wanted))
  lines = [
    f"{key}: {found.get(key, '(absent)')!r} there,"
    f" {wanted.get(key, '(absent)')!r} now"
    for key in keys
    if found.get(key) != wanted.get(key) or (key in found) != (key in wanted)
  ]
  if lines:
    number = 2
    while Path(f"{workdir}-{number}").exists():
      number += 1
    raise UserError(
      f"{workdir} holds a run with another config ({'; '.join(lines)})."
      f" Take another folder, for example --workdir={workdir}-{number}."
    )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  flat = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      flat.update(_flat(value, f"{prefix}{key}."))
    else:
      # Earlier runs have it as it was typed.
      home = isinstance(value, str) and value.startswith("~")
      flat[prefix + key] = os.path.expanduser(value) if home else value
  return flat


def _completed(
  tree: dict[str, Any], later: Later, what: Path | str
) -> dict[str, Any]:
  """A config with the keys that it was written without.

  Args:
    tree: the config; it is changed.
    later: which keys a method got later.
    what: begins the message about a mistake.
  """
  for key, value in {**_LATER, **later(tree.get("method", ""))}.items():
    *groups, name = key.split(".")
    holder = tree
    for group in groups:
      holder = holder.setdefault(group, {})
      if not isinstance(holder, dict):
        raise UserError(
          f"{what} holds {shown(holder)} at {group}; expected an object"
          f" {{...}}: {_WAY_OUT}"
        )
    holder.setdefault(name, value)
  return tree


def load_config(workdir: Path, later: Later) -> ConfigDict:
  """The config of a run.

  Args:
    workdir: of the run.
    later: which keys a method got later.

  Raises:
    UserError: the folder holds no run.
  """
  path = Path(workdir) / "config.json"
  if not path.exists():
    of_seeds = [place.parent for place in Path(workdir).glob("*/config.json")]
    hint = f", such as {min(of_seeds)}" if of_seeds else ""
    raise UserError(
      f"{workdir} holds no run (no config.json); give --workdir the folder"
      f" of a training{hint}, or train one with `{typed.command('train')}`."
    )
  tree = _completed(_read(path, _Config), later, path)
  try:
    return ConfigDict(tree).lock()
  # It refuses names with a dot, and those of its own methods.
  except (KeyError, ValueError) as error:
    raise UserError(
      f"{path} has a key that cannot be one of a config"
      f" ({str(error).strip():.200}): {_WAY_OUT}"
    ) from error


def claim_classes(workdir: Path, names: tuple[str, ...]) -> None:
  """Writes the class names into a new workdir, or checks them.

  With them there, a model predicts without its data set.

  Raises:
    UserError: the data set's classes are not those the run began with.
  """
  before = class_names(workdir)
  if before is None or not has_begun(workdir):
    if parallel.is_primary():
      write_json(Path(workdir) / "classes.json", list(names))
    return
  if before != tuple(names):
    gone, new = set(before) - set(names), set(names) - set(before)
    raise UserError(
      f"the data set's classes changed since {workdir} was begun (gone:"
      f" {', '.join(sorted(gone)) or 'none'}; new:"
      f" {', '.join(sorted(new)) or 'none'}). Restore them, or train anew"
      f" with another --workdir and --init-from={workdir}."
    )


def class_names(workdir: Path) -> tuple[str, ...] | None:
  """The classes of a run, in the order of the logits; None without any."""
  path = Path(workdir) / "classes.json"
  if not path.exists():
    return None
  names = _read(path, list[str])
  twice = [name for name, n in collections.Counter(names).items() if n > 1]
  if twice or not names:
    what = f"names {shown(twice[0])} twice" if twice else "names no class"
    raise UserError(f"{path} {what}: {_WAY_OUT}")
  return tuple(names)


def newest(root: Path) -> Path:
  """The run under `root` that was written to last.

  Runs that have saved nothing do not count; runs of several seeds lie one
  folder deeper.

  Raises:
    UserError: there is none.
  """
  files = ("summary.json", "metrics.jsonl", "config.json")
  runs = {
    config.parent: max(
      (config.parent / f).stat().st_mtime
      for f in files
      if (config.parent / f).exists()
    )
    for pattern in ("*/config.json", "*/seed-*/config.json")
    for config in Path(root).glob(pattern)
    if has_begun(config.parent)
  }
  if not runs:
    raise UserError(
      f"no run found under {root}/; train one with"
      f" `{typed.command('train')}`, or name a folder with --workdir."
    )
  return max(runs, key=lambda run: runs[run])


def _read(path: Path, expected: Any) -> Any:
  return json_files.read_json(path, expected, _WAY_OUT)


def write_json(path: Path, content: Any) -> None:
  """Writes JSON so that a reader sees the old file or the new one."""
  with replacing(path) as file:
    file.write(json_text(content, indent=2) + "\n")
