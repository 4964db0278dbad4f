"""The config of a run, read from a file and from keys that were typed.

`--config=FILE:variant --config.key=value`: FILE has a function
`get_config(variant)`, and each key overrides one of its values. One of our own,
`protojax.configs`, is named without folder and ending: `protopnet_folder`.
"""

from collections.abc import Sequence
import difflib
import importlib
import os
from pathlib import Path
import re
import runpy
import traceback
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from protojax import finding, ranges, text_files, typed
from protojax.shown import shown
from protojax.types import UserError
from protojax.writing import first_line

# The package of our configs. In a clone it is a link to the folder configs/.
OURS = "protojax.configs"

# Keys that every run needs, whatever its method.
_NEEDED = ("method", "seed", "seeds", "init_from", "save_seconds", "data")


def load(file: str, keys: Sequence[str] = (), **changes: Any) -> ConfigDict:
  """The config, locked.

  Args:
    file: path of the file, or name of a config of ours; with :variant if
      there is one.
    keys: `--config.key=value`, as typed.
    **changes: key -> a value that is set last, unless it is empty.

  Raises:
    UserError: there is no such file, variant or key, a value has the wrong
      type or a number is out of range, or something else was typed among the
      keys.
  """
  config = _overridden(read(file), keys)
  config = _with_own_images(config, file, keys)
  try:
    for key, value in changes.items():
      if value:
        config[key] = value
    config = _at_home(config)
  except ValueError as error:
    raise UserError(f"--config={file}: {error}") from error
  ranges.require(config)
  return config.lock()


def _at_home(config: ConfigDict) -> ConfigDict:
  """The config; in paths that begin with `~`, that is the home folder."""
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      _at_home(value)
    elif isinstance(value, str) and value.startswith("~"):
      config[key] = os.path.expanduser(value)
  return config


def name(file: str) -> str:
  """What to call a run of this config: `protopnet_photos-debug`.

  Args:
    file: as `load` takes it.
  """
  path, _, variants = file.partition(":")
  parts = [Path(path).stem, *re.split("[:,]", variants)]
  return "-".join(part for part in parts if part)


def read(file: str) -> ConfigDict:
  """The config of a file, as its function gives it.

  Args:
    file: as `load` takes it.

  Raises:
    UserError: there is no such file, it is no Python, it raises an error, or
      what it gives is no config.
  """
  path, variants = place(file), file.split(":", 1)[1:]
  # Code of the user's own: it may raise anything.
  try:
    content = runpy.run_path(path)
    if "get_config" not in content:
      raise UserError("the file has no function get_config")
    config = content["get_config"](*variants)
  except UserError as error:
    raise UserError(f"--config={file}: {error}") from error
  except Exception as error:
    raise UserError(
      f"--config={file}: {_line_of(error, path)}{type(error).__name__}:"
      f" {first_line(error)}"
    ) from error
  if not isinstance(config, ConfigDict):
    raise UserError(
      f"--config={file}: get_config gives {shown(config)}; expected a"
      " ConfigDict of ml_collections"
    )
  if missing := [key for key in _NEEDED if key not in config]:
    raise UserError(
      f"--config={file}: the config has no key {', '.join(missing)}, which"
      " every run needs; docs/adding.md has a small whole config"
    )
  return config


def names() -> tuple[str, ...]:
  """Names of our configs."""
  return finding.names(OURS, "get_config")


def place(file: str) -> str:
  """The path of a config.

  Args:
    file: as `load` takes it.

  Raises:
    UserError: there is no such file, or no config of ours of that name.
  """
  path = file.partition(":")[0]
  if path in names():
    (folder,) = importlib.import_module(OURS).__path__
    return f"{folder}/{path}.py"
  _require_file(path)
  return path


def _require_file(path: str) -> None:
  if not os.path.lexists(path):
    known = {p.name: str(p) for p in Path(path).parent.glob("*.py")}
    known |= {name: name for name in names()}
    near = difflib.get_close_matches(Path(path).name, known, 1)
    hint = f" Did you mean {known[near[0]]}?" if near else ""
    raise UserError(
      f"--config: there is no file {path}, and no config of that name"
      f" (`{typed.command('configs')}` lists them).{hint}"
    )
  try:
    text_files.read(path)
  except UserError as error:
    raise UserError(f"--config: {error}; expected a file in Python") from error


def _line_of(error: BaseException, path: str) -> str:
  """The last line of a file that an error came through: "line 3: "."""
  if isinstance(error, SyntaxError) and error.filename == path:
    return f"line {error.lineno}: "
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == path]
  return f"line {lines[-1]}: " if lines else ""


def _overridden(config: ConfigDict, keys: Sequence[str]) -> ConfigDict:
  """The config with the values of all keys."""
  # Not absl's global flags, which belong to the whole process.
  values, argv = flags.FlagValues(), ["", *keys]
  try:
    flag = config_flags.DEFINE_config_dict(
      "config", config, flag_values=values, sys_argv=argv
    )
    rest = values(argv)
  except flags.Error as error:
    raise UserError(_misread(str(error).strip(), config)) from error
  except (AttributeError, KeyError) as error:
    raise UserError(_unknown(error, keys)) from error
  if len(rest) > 1:
    raise UserError(f"unexpected argument {rest[1]!r} (see --help)")
  return flag.value


_WORDS: dict[type, str] = {
  bool: "True or False",
  int: "a whole number",
  float: "a number",
  tuple: "values in brackets",
}


def _misread(message: str, config: ConfigDict) -> str:
  """Says which value is none of its key, and what one would be."""
  # absl: flag --config.data.side=3.7: invalid literal for int() ...
  found = re.match(r"flag --config\.([\w.]+)=(.*?): ", message, re.DOTALL)
  if not found:
    return f"{_short(message)} (see --help)"
  key, value = found.groups()
  own = config
  for name in key.split("."):
    own = own.get(name) if isinstance(own, ConfigDict) else None
  typed = f"--config.{key}={_short(value)}"
  if isinstance(own, ConfigDict):
    one = f"--config.{key}.{next(iter(own), 'KEY')}=VALUE"
    return f"{typed}: {key} is a group of keys; set one of them, such as {one}"
  # A whole number may still have too many digits.
  if type(own) not in _WORDS or value.isdecimal():
    return f"{_short(message)} (see --help)"
  return f"{typed}: expected {_WORDS[type(own)]}, such as {own!r}"


def _short(message: str, most: int = 300) -> str:
  """The message without its middle, if a value of thousands of digits is in."""
  if len(message) <= most:
    return message
  return f"{message[: most // 2]} ... {message[-most // 2 :]}"


def _with_own_images(
  config: ConfigDict, file: str, keys: Sequence[str]
) -> ConfigDict:
  """The config; it reads the data set that `data.root` was typed for.

  A variant such as debug takes embedded images in place of a data set on disk.
  """
  path, _, variants = file.partition(":")
  typed = {key.lstrip("-").partition("=")[0] for key in keys}
  if not variants or not config.data.get("root") or "config.data.name" in typed:
    return config
  own = read(path).data.name
  if own and own != config.data.name:
    with config.unlocked():
      config.data.name = own
  return config


def _unknown(error: Exception, keys: Sequence[str]) -> str:
  """Says which key is unknown, and which one may have been meant."""
  # ml_collections: 'key'\nDid you mean "near" instead of "key"?
  near = re.findall(r'"(\w+)"', str(error))
  names = re.findall(r"'(\w+)\\?'", str(error))
  wrong = near[1] if len(near) > 1 else (names or ["?"])[0]
  typed = next((key for key in keys if re.search(rf"\.{wrong}\b", key)), wrong)
  hint = f" Did you mean {near[0]!r}?" if near else ""
  return f"{typed}: the config has no key {wrong!r}.{hint}"
