import dataclasses

import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.explain import statistics
from protojax.report import characteristics
from tests.report import report_fakes as fakes


@pytest.fixture(scope="module")
def run():
  return fakes.run()


def _scores(prototypes, split, name):
  return np.array([e.because[split].scores[name] for e in prototypes])


def test_means(run):
  prototypes, images, _ = run
  means = characteristics.means(prototypes)
  assert list(means) == ["train", "test"]
  assert_allclose(
    means["test"]["hue"], _scores(prototypes, "test", "hue").mean()
  )
  rows = [r.because["shape"] for e in images for r in e.evidence]
  local = characteristics.local_means(images)
  assert_allclose(local["shape"], np.mean(rows))
  assert characteristics.local_means([]) == characteristics.means([]) == {}


def test_prototypes_without_a_score_do_not_count(run):
  prototypes = list(run[0])
  lost = dict.fromkeys(fakes.NAMES, float("nan"))
  because = dict(prototypes[0].because)
  because["test"] = dataclasses.replace(because["test"], scores=lost)
  prototypes[0] = dataclasses.replace(prototypes[0], because=because)
  found = characteristics.characteristic("hue", prototypes, {})
  known = _scores(prototypes[1:], "test", "hue")
  assert_allclose(
    characteristics.means(prototypes)["test"]["hue"], known.mean()
  )
  assert found.highest[0] == (1 + known.argmax(), known.max())
  assert found.lowest[0] == (1 + known.argmin(), known.min())
  assert len(found.scatter.points) == len(known)


def test_a_characteristic(run):
  prototypes, _, overviews = run
  found = characteristics.characteristic("hue", prototypes, overviews)
  assert list(found.globally.outlines) == ["train", "test"]
  assert list(found.locally.outlines) == ["train", "test"]
  assert len(found.scatter.points) == len(prototypes)
  order = np.argsort(_scores(prototypes, "test", "hue"))
  assert [number for number, _ in found.lowest] == order[:4].tolist()
  assert [number for number, _ in found.highest] == order[::-1][:4].tolist()
  alone = characteristics.characteristic("hue", prototypes[:1], {})
  assert alone.highest == alone.lowest == ()


def test_figures_are_the_statistics_turned_round(run):
  prototypes, _, _ = run
  names = ("hue", "shape")
  scores = np.array([_scores(prototypes, "test", n) for n in names])
  split = statistics.SplitScores(
    names,
    np.arange(len(prototypes)),
    scores,
    np.ones(len(prototypes)),
    scores[None] + np.linspace(-0.1, 0.1, 41)[:, None, None],
  )
  rows = statistics.rows("test", statistics.summarise(split))
  rows.append(
    {
      "modification": "all",
      "split": "train without source against test",
      "statistic": "same_first",
      "value": float("nan"),
    }
  )
  table, overall = characteristics.figures(rows)
  assert (table.title, table.columns) == ("Test", names)
  printed = {about.heading: values for about, values in table.lines}
  low, high = np.add(scores.mean(axis=1), [[-0.095], [0.095]])
  number = "{:.3f}".format
  assert printed["Mean"] == tuple(map(number, scores.mean(axis=1)))
  assert printed["95 % interval"] == tuple(
    f"{number(a)} to {number(b)}".replace("-", "−")
    for a, b in zip(low, high, strict=True)
  )
  assert printed["Highest: prototype"] == tuple(map(str, scores.argmax(axis=1)))
  assert all(about.meaning for about, _ in table.lines)
  assert overall.columns == ("all",)
  assert overall.title == (
    "Train without each prototype’s own image against test, all"
    " characteristics together"
  )
  assert overall.lines[0][1] == ("–",)


def test_every_statistic_there_is_has_an_explanation():
  from protojax.explain import agreement
  from protojax.report import glossary

  kinds = statistics.Summary, agreement.Comparison, agreement.Overall
  names = {f.name for kind in kinds for f in dataclasses.fields(kind)}
  known = {*glossary.STATISTICS, "modification", "low", "high"}
  assert names <= known
  assert glossary.statistic("odd_one").heading == "Odd one"
