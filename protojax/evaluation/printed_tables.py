"""The tables that `evaluate` prints."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich.table import Table

from protojax.console import Console
from protojax.evaluation import known_causes
from protojax.evaluation.measure import FIGURES, Figure

_ABSENT = "-"


def markdown(
  methods: Mapping[str, Mapping[str, Any]],
  figures: Mapping[str, Figure] = MappingProxyType(FIGURES),
) -> str:
  """A table with a row for each metric and a column for each method.

  Args:
    methods: name -> metric -> "mean" and "std", as from `compare`.
    figures: the metrics, in the order of the rows.
  """
  rows = [["metric", "better", *methods]]
  for metric, figure in figures.items():
    told = [_told(found.get(metric)) for found in methods.values()]
    if set(told) != {_ABSENT}:
      rows.append([figure.title, figure.better, *told])
  return _drawn(rows)


def robustness(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
  """A table with a row for each corruption and strength.

  Args:
    found: of `robustness.measure`.
  """
  names = list(next(iter(next(iter(found.values())).values())))
  rows = [["corruption", "strength", *names]]
  for corruption, strengths in found.items():
    rows += [
      [corruption, strength, *(f"{figures[name]:.3f}" for name in names)]
      for strength, figures in strengths.items()
    ]
  return _drawn(rows)


def _drawn(rows: list[list[str]]) -> str:
  """Rows of equal widths; the first one is the head."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  rows.insert(1, ["-" * width for width in widths])
  return "\n".join(
    "| "
    + " | ".join(x.ljust(w) for x, w in zip(row, widths, strict=True))
    + " |"
    for row in rows
  )


def _told(found: Mapping[str, Any] | None) -> str:
  """Mean and, with several seeds, deviation."""
  if found is None:
    return _ABSENT
  mean, deviation = found["mean"], found["std"]
  digits = 3 if abs(mean) < 10 else 1
  told = f"{mean:.{digits}f}"
  return told if deviation is None else f"{told} ± {deviation:.{digits}f}"


def show_planted(content: Mapping[str, Any], console: Console) -> None:
  """Prints the tables of both presets, the one that decides first."""
  for preset in known_causes.PRESETS:
    decides = preset is known_causes.PRESETS[0]
    _show_preset(
      preset.name, content if decides else content[preset.name], console
    )
  console.print(
    "Bold: the largest of a column, which should be in the row of the same"
    " name. first: share of the prototypes whose most important characteristic"
    f" is the cause; {known_causes.FIRST} is required. r: correlation of global"
    " scores over training images with those over test images;"
    f" {known_causes.CORRELATION} is required. r*: the same without each"
    f" prototype's own image. Identity control: {content['control']:.2g}."
  )


def _show_preset(
  title: str, found: Mapping[str, Any], console: Console
) -> None:
  shares, told = found["shares"], found["verdicts"]
  names = list(next(iter(shares.values())))
  largest = {c: max(shares, key=lambda row: shares[row][c]) for c in names}
  columns = ("planted", *names, "first", "r", "r*", "right")
  rows = Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0))
  for cause, row in shares.items():
    cells = [
      f"[bold]{row[c]:.2f}[/]" if largest[c] == cause else f"{row[c]:.2f}"
      for c in names
    ]
    marks = (
      f"{found[figure][cause]:.2f}{'' if told[verdict][cause] else ' (!)'}"
      for figure, verdict in (
        ("first", "rows"),
        ("train_test_correlation", "correlations"),
      )
    )
    others = f"{found['others_test_correlation'][cause]:.2f}"
    accuracy = f"{found['accuracy'][cause]:.1%}"
    rows.add_row(cause, *cells, *marks, others, accuracy)
  console.print()
  console.print(f"Share of the importance, preset {title}:")
  console.print(rows)
