"""Draws what wrong pseudo-labels cost: docs/label_diffusion_curve.svg.

python benchmarks/label_curve.py [--lines FILE] [--to FILE]

Of the lines of `label_diffusion_digits`: Dice of each kind over the share of
regions that were made wrong, mean and deviation over the seeds.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import html
import math
from pathlib import Path
import statistics
import sys

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import experiment as experiments
from benchmarks import lines
from protojax.writing import replacing

NAME = "label_diffusion_digits"
TO = experiments.ROOT / "docs" / "label_diffusion_curve.svg"

# Kind -> colour; blue, orange and green are told apart by most eyes.
_COLOURS = {"full": "#0072b2", "no anchors": "#d55e00", "plain": "#009e73"}
_FLOOR = "labelled images alone"
_WIDE, _HIGH = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 500, 34, 310
_GREY = "#777"

# Share of wrong regions in percent -> Dice of each seed.
Line = Mapping[int, Sequence[float]]
# (share, Dice) -> (x, y).
Place = Callable[[float, float], tuple[float, float]]


def kinds(found: Sequence[lines.Line]) -> dict[str, dict[int, list[float]]]:
  """Dice of each kind by the share made wrong; the floor's share is 0.

  Args:
    found: of the experiment's file.
  """
  standing = lines.standing(experiments.load(NAME), found)
  made: dict[str, dict[int, list[float]]] = {}
  for arm, of_seeds in standing.items():
    kind, _, rate = arm.partition(", ")
    share = int(rate.split()[0]) if rate else 0
    if of_seeds:
      made.setdefault(kind, {})[share] = [
        x["figures"]["Dice"] for x in of_seeds
      ]
  return made


def drawn(found: Mapping[str, Line]) -> str:
  """The curves as SVG, on white, with a legend beside them.

  Args:
    found: as `kinds` gives it.
  """
  values = [
    x for line in found.values() for each in line.values() for x in each
  ]
  low = math.floor(10 * min(values)) / 10
  high = math.ceil(10 * max(values)) / 10
  most = max(share for line in found.values() for share in line)

  def place(share: float, dice: float) -> tuple[float, float]:
    x = _LEFT + (_RIGHT - _LEFT) * share / max(most, 1)
    y = _BOTTOM - (_BOTTOM - _TOP) * (dice - low) / max(high - low, 1e-9)
    return round(x, 1), round(y, 1)

  parts = [*_axes(low, high, most, place)]
  for n, (kind, line) in enumerate(found.items()):
    colour = _COLOURS.get(kind, _GREY)
    means = {share: statistics.mean(each) for share, each in line.items()}
    if kind == _FLOOR:
      means = dict.fromkeys((0, most), means[0])
    points = " ".join(
      ",".join(map(str, place(share, mean))) for share, mean in means.items()
    )
    dashed = ' stroke-dasharray="5 4"' if kind == _FLOOR else ""
    parts.append(
      f'<polyline points="{points}" fill="none" stroke="{colour}"'
      f' stroke-width="2"{dashed}/>'
    )
    parts += [] if kind == _FLOOR else _spreads(line, colour, place)
    y = _TOP + 14 + 22 * n
    parts.append(
      f'<line x1="{_RIGHT + 10}" x2="{_RIGHT + 28}" y1="{y}" y2="{y}"'
      f' stroke="{colour}" stroke-width="2"{dashed}/>'
      f'<text x="{_RIGHT + 33}" y="{y + 4}">{html.escape(_short(kind))}</text>'
    )
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}"'
    f' width="{_WIDE}" height="{_HIGH}" font-family="sans-serif" font-size="12"'
    ' fill="#222" role="img"><title>Dice over the share of pseudo-labels made'
    ' wrong</title><rect width="100%" height="100%" fill="#fff"/>'
    + "".join(parts)
    + "</svg>\n"
  )


def _short(kind: str) -> str:
  return "labelled alone" if kind == _FLOOR else kind


def _axes(low: float, high: float, most: int, place: Place) -> list[str]:
  """Lines of the grid, and what stands at their ends."""
  parts = []
  step = 0.05 if high - low < 0.45 else 0.1
  for n in range(round((high - low) / step) + 1):
    dice = low + n * step
    _, y = place(0, dice)
    parts.append(
      f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}" stroke="#e2e2e2"/>'
      f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{dice:.2f}</text>'
    )
  for share in range(0, most + 1, 10):
    x, y = place(share, low)
    parts.append(
      f'<text x="{x}" y="{y + 18}" text-anchor="middle">{share} %</text>'
    )
  middle = (_LEFT + _RIGHT) / 2
  parts.append(
    f'<text x="{middle}" y="{_BOTTOM + 40}" text-anchor="middle">regions of'
    f' pseudo-labels made wrong</text><text x="{_LEFT - 45}" y="{_TOP - 16}">'
    "Dice</text>"
  )
  return parts


def _spreads(line: Line, colour: str, place: Place) -> list[str]:
  """A dot for each mean, and a bar of one deviation to each side."""
  parts = []
  for share, each in line.items():
    mean = statistics.mean(each)
    x, y = place(share, mean)
    parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>')
    if len(each) > 1:
      apart = statistics.stdev(each)
      _, top = place(share, mean + apart)
      _, bottom = place(share, mean - apart)
      parts.append(
        f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" stroke="{colour}"/>'
      )
  return parts


def main(argv: Sequence[str] | None = None) -> None:
  """Draws the file.

  Raises:
    SystemExit: no line stands.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--lines",
    type=Path,
    default=lines.path(NAME),
    metavar="FILE",
    help="of the experiment; benchmarks/results by default",
  )
  parser.add_argument(
    "--to", type=Path, default=TO, metavar="FILE", help="SVG to write"
  )
  args = parser.parse_args(argv)
  found = kinds(lines.read(args.lines))
  if not found:
    sys.exit(f"error: no line of {args.lines} stands: run results.py {NAME}")
  with replacing(args.to) as file:
    file.write(drawn(found))


if __name__ == "__main__":
  main()
