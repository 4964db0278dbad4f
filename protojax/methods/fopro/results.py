"""The file of a finished run: the list of cleaned labels."""

from pathlib import Path
from typing import Any

from protojax import parallel
from protojax.methods.fopro import cleaning_list
from protojax.types import State


def write(method: Any, state: State, folder: Path) -> None:
  """Writes FOLDER/cleaning.csv.

  Args:
    method: of the run.
    state: the final one.
    folder: workdir of the run.

  Raises:
    UserError: there is no room, or no right to write.
  """
  path = folder / cleaning_list.FILE
  source = method.dataset.source("train")
  cleaning_list.write(path, source, method.verdicts(state), method.listed)
  parallel.say(
    f"{path}: what was kept, relabelled and dropped. Correct it, and train"
    f" again with --config.cleaning.corrected={path}"
  )
