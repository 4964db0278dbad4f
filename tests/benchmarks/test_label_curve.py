"""The curve of wrong pseudo-labels: its points are the means of the lines."""

from xml.etree import ElementTree

from benchmarks import experiment as experiments
from benchmarks import label_curve

_SVG = "{http://www.w3.org/2000/svg}"


def _lines():
  """As the experiment writes them: "full" keeps its Dice, "plain" falls."""
  experiment = experiments.load(label_curve.NAME)
  for seed in experiment.seeds:
    for arm in experiment.arms:
      kind, _, rate = arm.partition(", ")
      share = int(rate.split()[0]) if rate else 0
      dice = 0.8 - share / 100 * (kind == "plain") + seed / 100
      yield {
        "arm": arm,
        "seed": seed,
        "digest": experiment.digest(arm, seed),
        "figures": {"Dice": dice},
      }


def test_points_are_means_and_bars_deviations(tmp_path):
  found = label_curve.kinds([*_lines(), {**next(_lines()), "digest": "old"}])
  assert list(found) == ["full", "no anchors", "plain", "labelled images alone"]
  assert found["plain"] == {
    share: [0.8 - share / 100 + seed / 100 for seed in range(3)]
    for share in (0, 20, 40)
  }
  root = ElementTree.fromstring(label_curve.drawn(found))
  full, _, plain, floor = (
    [tuple(map(float, p.split(","))) for p in x.get("points").split()]
    for x in root.findall(f"{_SVG}polyline")
  )
  assert len(full) == len(plain) == 3
  assert len({y for _, y in full}) == 1
  # Evenly down, and as far to the right as the axis goes.
  (x, y), (x2, y2), (x3, y3) = plain
  assert x2 - x == x3 - x2 > 0
  assert abs(y2 - y - (y3 - y2)) < 0.2
  assert y2 > y == full[0][1]
  assert [x for x, _ in floor] == [full[0][0], full[-1][0]]
  assert len(root.findall(f"{_SVG}circle")) == 9
