"""Configs from files and flags: `--config=FILE:variant --config.key=value`."""

from collections.abc import Callable, Iterator
import contextlib
import difflib
from pathlib import Path
import re
import sys
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from protojax import cli
from protojax.types import UserError


def define_flag(default: str) -> flags.FlagHolder:
  """The flag --config, a file whose `get_config(variant)` makes the config.

  Keys of the default config that were typed are read here and now.
  """
  with _mistakes_told(sys.argv):
    return config_flags.DEFINE_config_file(
      "config", default, "Config file, with :variant if it has some."
    )


def load(flag: flags.FlagHolder, **changes: Any) -> ConfigDict:
  """The config that the flags ask for, locked.

  Args:
    flag: from `define_flag`.
    **changes: keys to set after all, where the value is not empty.

  Raises:
    UserError: there is no such file or variant.
  """
  path = _file(flag)
  if not path.is_file():
    near = difflib.get_close_matches(
      path.name, [p.name for p in path.parent.glob("*.py")], 1
    )
    hint = f" Did you mean {path.parent / near[0]}?" if near else ""
    raise UserError(f"--config: there is no file {path}.{hint}")
  try:
    config = flag.value
    for key, value in changes.items():
      if value:
        config[key] = value
  except ValueError as error:
    raise UserError(f"--config={_given(flag)}: {error}") from error
  return config.lock()


def name(flag: flags.FlagHolder) -> str:
  """What to call a run of this config: `protopnet_photos-debug`."""
  _, _, variant = _given(flag).partition(":")
  parts = [_file(flag).stem, *variant.replace(":", ",").split(",")]
  return "-".join(part for part in parts if part)


def _given(flag: flags.FlagHolder) -> str:
  return config_flags.get_config_filename(flags.FLAGS[flag.name])


def _file(flag: flags.FlagHolder) -> Path:
  return Path(_given(flag).partition(":")[0])


def parse(argv: list[str]) -> list[str]:
  """Parses the command line; for `app.run(main, flags_parser=parse)`.

  A wrong flag or config key ends the command with one line and exit code 2.
  """
  with _mistakes_told(argv):
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      raise flags.Error(f"unexpected argument {rest[1]!r}")
  return rest


@contextlib.contextmanager
def _mistakes_told(argv: list[str]) -> Iterator[None]:
  """Ends the command with one line for what was typed wrongly."""
  try:
    yield
  except (flags.Error, AttributeError, KeyError) as error:
    cli.complain(_explained(error, argv))
    sys.exit(cli.EXIT_USER_ERROR)


def _explained(error: Exception, argv: list[str]) -> str:
  if isinstance(error, flags.Error):
    text = str(error).strip()
    if "Traceback" in text:
      # A config file that raised: its own words are on the last line.
      text = f"--config: {text.splitlines()[-1].partition(': ')[2]}"
    return f"{text} (see --help)"
  # ml_collections: 'key'\nDid you mean "near" instead of "key"?
  words = re.findall(r'"(\w+)"', str(error))
  keys = re.findall(r"'(\w+)\\?'", str(error))
  wrong = words[1] if len(words) > 1 else (keys or ["?"])[0]
  given = next((a for a in argv if re.search(rf"\.{wrong}\b", a)), wrong)
  hint = f" Did you mean {words[0]!r}?" if words else ""
  return f"{given}: the config has no key {wrong!r}.{hint}"


def run(main: Callable[[], int]) -> None:
  """Parses the flags, runs a command, and exits with what it returns."""

  def quietly(_: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)
    sys.exit(cli.guarded(main))

  app.run(quietly, flags_parser=parse)
