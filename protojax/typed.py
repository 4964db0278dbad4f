"""What a user types, as it works where the user stands.

In a clone there are the scripts `train.py` and `explain.py` and the folder
`configs/`; where the package alone is installed, there is the command
`protojax`, and configs are named without a folder. Who calls a function of ours
in Python has arguments in place of flags.
"""

from collections.abc import Iterator
import contextlib
import os
import re
import sys

from protojax.errors import UserError

_MODULE = "python -m protojax"
# A script, or our module with a command; a config of ours.
_OF_CLONE = re.compile(rf"python (\w+)\.py|{_MODULE}(?: ([a-z-]+))?")
_CONFIG = re.compile(r"(?<![/\w])configs/(\w+)\.py")
# What stands for a flag in Python. A command in backticks keeps its own.
_COMMAND = re.compile(r"(`[^`]*`)")
_FLAGS = (
  (re.compile(r" \(see --help\)|--config\."), ""),
  (re.compile(r"--(config|workdir|preset|heat)\b"), r"\1"),
  (re.compile(r"--init-from\b"), "init_from"),
  (re.compile(r"--allow-stale\b"), "allow_stale=True"),
)


def command(name: str) -> str:
  """How to type a command: "python train.py", or "protojax train"."""
  if in_clone() and os.path.isfile(f"{name}.py"):
    return f"python {name}.py"
  return f"{program()} {name}"


def here(text: str) -> str:
  """A text of ours that is written for a clone, such as a help, for here."""
  if in_clone():
    return text
  text = _OF_CLONE.sub(
    lambda found: f"{program()} {found[1] or found[2] or ''}".strip(), text
  )
  return _CONFIG.sub(r"\1", text)


@contextlib.contextmanager
def from_python() -> Iterator[None]:
  """Around a function of `protojax`: errors name its arguments, not flags."""
  try:
    yield
  except UserError as error:
    error.args = (in_python(str(error)),)
    raise


def in_python(text: str) -> str:
  """A text of ours that is written for the command line, for Python."""
  parts = _COMMAND.split(text)
  for i in range(0, len(parts), 2):
    for flag, argument in _FLAGS:
      parts[i] = flag.sub(argument, parts[i])
  return "".join(parts)


def in_clone() -> bool:
  """Whether the current folder is a clone, with its scripts."""
  return os.path.isdir("configs") and os.path.isdir("protojax")


def program() -> str:
  """How commands are started here: "protojax" or "python -m protojax"."""
  started = os.path.basename(sys.argv[0] if sys.argv else "")
  return "protojax" if started == "protojax" else _MODULE
