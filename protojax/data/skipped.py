"""Says which images of a source could not be read, for a terminal."""

from collections.abc import Mapping
import os

from protojax.data.source import Source

# Lines for one source; a folder of broken files shall not flood the terminal.
_NAMED = 10


def report(sources: Mapping[str, Source]) -> list[str]:
  """One line for each skipped image, and a count of those beyond the tenth.

  The two parts of a folder that is split by a seed skip the same images; these
  are named once.

  Args:
    sources: split ("train", "test" or "images") -> its images.
  """
  lines, told = [], set()
  for split, source in sources.items():
    if source.skipped in told:
      continue
    told.add(source.skipped)
    for name, reason in source.skipped[:_NAMED]:
      lines.append(f"{split}: skipped {name}: {reason}")
    if len(source.skipped) > _NAMED:
      lines.append(f"{split}: skipped {len(source.skipped) - _NAMED} more")
  return [_printable(line) for line in lines]


def _printable(line: str) -> str:
  # File names need not be UTF-8, and may hold line breaks.
  text = os.fsencode(line).decode("utf-8", "backslashreplace")
  return " ".join(text.splitlines())
