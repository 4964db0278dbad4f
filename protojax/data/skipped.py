"""Lines for a terminal about the images of a source that cannot be read."""

from collections.abc import Mapping

from protojax.data.source import Source, printable

# Images named of one source: many broken files must not flood the terminal.
_NAMED = 10


def report(sources: Mapping[str, Source]) -> list[str]:
  """One line for each of the first ten skipped images, and a count of the rest.

  Two splits that are drawn from one folder skip the same images; these are
  named once.

  Args:
    sources: split ("train", "test" or "images") -> its images.
  """
  lines, named = [], set()
  for split, source in sources.items():
    if source.skipped in named:
      continue
    named.add(source.skipped)
    for name, reason in source.skipped[:_NAMED]:
      lines.append(f"{split}: skipped {name}: {reason}")
    if len(source.skipped) > _NAMED:
      lines.append(f"{split}: skipped {len(source.skipped) - _NAMED} more")
  return [_one_line(line) for line in lines]


def _one_line(text: str) -> str:
  # File names may hold line breaks.
  return " ".join(printable(text).splitlines())
