"""The runner of experiments: it goes on where it was cut, and its table."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from benchmarks import experiment as experiments
from benchmarks import lines, results
from protojax import configuration, methods

_EXPERIMENT = """
QUESTION = "Which is better?"
ARMS = {
  "one": ("configs/protopnet_photos.py:debug", {}),
  "two": ("configs/protopnet_photos.py:debug", {"batch_size": 13}),
}
FIGURES = {"accuracy": "accuracy.last", "second loss": "stages.1.loss"}
SEEDS = (0, 1, 5)
"""


@pytest.fixture
def experiment(tmp_path):
  (tmp_path / "fake.py").write_text(_EXPERIMENT)
  assert experiments.names(tmp_path) == ["fake"]
  return experiments.load("fake", tmp_path)


class Trainer:
  """Stands for train.py: writes a summary that depends on its arguments."""

  def __init__(self, fails_at=None):
    self.calls, self.fails_at = [], fails_at

  def __call__(self, arguments):
    if len(self.calls) == self.fails_at:
      return 130
    self.calls.append(arguments)
    (workdir,) = (x[10:] for x in arguments if x.startswith("--workdir="))
    (seed,) = (int(x[14:]) for x in arguments if x.startswith("--config.seed="))
    value = 0.5 + 0.01 * seed**2 + 0.1 * ("--config.batch_size=13" in arguments)
    Path(workdir).mkdir(parents=True)
    stages = [{"loss": 0}, {"loss": 2 * value}]
    summary = {"accuracy": {"last": value}, "stages": stages, "devices": "1 x"}
    (Path(workdir) / "summary.json").write_text(json.dumps(summary))
    return 0


def _run(experiment, tmp_path, trainer):
  runs, data = tmp_path / "runs", tmp_path / "data"
  results.run(experiment, tmp_path / "f.jsonl", runs, data, trainer)
  return lines.read(tmp_path / "f.jsonl")


def test_every_arm_runs_with_every_seed_once(experiment, tmp_path):
  trainer = Trainer()
  found = _run(experiment, tmp_path, trainer)
  pairs = [(x["arm"], x["seed"]) for x in found]
  assert pairs == [(a, s) for s in (0, 1, 5) for a in ("one", "two")]
  assert len({x["digest"] for x in found}) == 6
  assert all(x["commit"] and x["devices"] == "1 x" for x in found)
  assert found[1]["figures"] == {"accuracy": 0.6, "second loss": 1.2}
  assert "--config.batch_size=13" in found[1]["arguments"]
  assert not list((tmp_path / "runs").iterdir())
  assert _run(experiment, tmp_path, trainer) == found
  assert len(trainer.calls) == 6


@pytest.mark.parametrize("half", ["", '{"arm": "one", "se'])
def test_a_run_that_was_cut_goes_on(experiment, tmp_path, half):
  with pytest.raises(SystemExit) as stop:
    _run(experiment, tmp_path, Trainer(fails_at=3))
  assert stop.value.code == 130
  with (tmp_path / "f.jsonl").open("a") as file:
    file.write(half)
  assert len(lines.read(tmp_path / "f.jsonl")) == 3
  rest = Trainer()
  found = _run(experiment, tmp_path, rest)
  assert len(rest.calls) == 3
  assert len({(x["arm"], x["seed"]) for x in found}) == len(found) == 6


def test_another_config_is_another_run(experiment, tmp_path):
  _run(experiment, tmp_path, Trainer())
  changed = _EXPERIMENT.replace('"batch_size": 13', '"batch_size": 26')
  (tmp_path / "fake.py").write_text(changed)
  changed, trainer = experiments.load("fake", tmp_path), Trainer()
  rows = list(lines.table(changed, lines.read(tmp_path / "f.jsonl")))
  assert [(row["arm"], row["seeds"]) for row in rows] == [("one", 3)]
  _run(changed, tmp_path, trainer)
  assert len(trainer.calls) == 3


@pytest.mark.parametrize(
  "name", ["first loss", "second loss"], ids=["another", "elsewhere"]
)
def test_other_figures_are_other_runs(experiment, tmp_path, name):
  _run(experiment, tmp_path, Trainer())
  text = _EXPERIMENT.replace('"second loss": "stages.1', f'"{name}": "stages.0')
  (tmp_path / "fake.py").write_text(text)
  changed, trainer = experiments.load("fake", tmp_path), Trainer()
  assert not list(lines.table(changed, lines.read(tmp_path / "f.jsonl")))
  found = _run(changed, tmp_path, trainer)
  assert len(trainer.calls) == 6
  for row in lines.table(changed, found):
    assert row["seeds"] == 3
    assert row[name] == "0.000 ± 0.000"


def test_the_table_has_means_and_deviations(experiment, tmp_path):
  found = _run(experiment, tmp_path, Trainer())
  for row in lines.table(experiment, found):
    values = [x["figures"]["accuracy"] for x in found if x["arm"] == row["arm"]]
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    assert row["accuracy"] == f"{mean:.3f} ± {deviation:.3f}"
    assert row["seeds"] == 3


def test_a_table_by_seed_has_their_values_and_the_mean():
  of_seeds = {3: {"right": 0.5, "alive": 98}, 7: {"right": 0.75, "alive": 99}}
  assert list(experiments.by_seed({"one": of_seeds})) == [
    {
      "": "right",
      "seed 3": "0.500",
      "seed 7": "0.750",
      "mean": "0.625 ± 0.177",
    },
    {"": "alive", "seed 3": "98", "seed 7": "99", "mean": "98.5 ± 0.7"},
  ]


def test_arms_are_compared_seed_by_seed():
  """The interval is that of the differences, as SciPy has it."""
  base = {0: {"accuracy": 0.1}, 1: {"accuracy": 0.2}, 2: {"accuracy": 0.3}}
  more = {s: {"accuracy": x["accuracy"] + 0.1 * s} for s, x in base.items()}
  found = {"base": base, "more": more, "once": {1: more[1]}}
  rows = list(experiments.paired(found, lambda arm: "base", "less base"))
  assert [row["arm"] for row in rows] == list(found)
  assert [row["less base"] for row in rows] == [
    "",
    "+0.100 (-0.148 to +0.348)",
    "+0.100",
  ]
  low, high = scipy.stats.ttest_1samp([0.0, 0.1, 0.2], 0).confidence_interval()
  assert (f"{low:+.3f}", f"{high:+.3f}") == ("-0.148", "+0.348")
  assert rows[0]["accuracy"] == "0.200 ± 0.100"


def test_a_figure_that_is_not_there_is_told():
  with pytest.raises(SystemExit, match=r"a\.c: 'c' is not .* but b"):
    results.figure({"a": {"b": 1}}, "a.c")
  with pytest.raises(SystemExit, match="'7' is not"):
    results.figure({"a": [1]}, "a.7")
  assert results.figure({"a": [1, 3]}, "a.1") == 3.0


def test_a_figure_that_is_not_finite_is_told():
  with pytest.raises(SystemExit, match="a is nan, which no table"):
    results.figure({"a": float("nan")}, "a")


_JUDGED = """
def judge(workdir, data, offset):
  assert (workdir / "summary.json").exists()
  return {"found": [offset + len(data.name)]}

def by_figure(found):
  for name in FIGURES:
    yield {"figure": name} | {arm: x[0][name] for arm, x in found.items()}

QUESTION = "How long?"
ARMS = {
  "one": ("configs/protopnet_folder.py", {"data.root": "birds", "seeds": 1})
}
FIGURES = {"length": "found.0"}
SEEDS = (0,)
MEASURE, SETTINGS, TABLE = judge, {"offset": 100}, by_figure
"""


def test_an_experiment_may_judge_its_runs_on_data_sets(tmp_path):
  (tmp_path / "fake.py").write_text(_JUDGED)
  judged, trainer = experiments.load("fake", tmp_path), Trainer()
  (line,) = _run(judged, tmp_path, trainer)
  assert f"--config.data.root={tmp_path / 'data' / 'birds'}" in trainer.calls[0]
  # The line says the same on every machine.
  assert str(tmp_path) not in json.dumps(line)
  assert line["figures"] == {"length": 104.0}
  assert list(lines.table(judged, [line])) == [{"figure": "length", "one": 104}]
  (tmp_path / "fake.py").write_text(_JUDGED.replace("100}", "99}"))
  assert not list(lines.table(experiments.load("fake", tmp_path), [line]))


@pytest.mark.parametrize(("value", "same"), [(0.0, True), (0.1, False)])
def test_a_key_that_came_later_counts_if_it_changes_something(
  value, same, experiment, monkeypatch
):
  before = experiment.digest("one", 0)
  load, later = configuration.load, methods.later

  def newer(*arguments):
    config = load(*arguments).unlock()
    config.joint.newest = value
    return config.lock()

  monkeypatch.setattr(configuration, "load", newer)
  monkeypatch.setattr(
    methods, "later", lambda name: {**later(name), "joint.newest": 0.0}
  )
  experiments._config.cache_clear()
  assert (experiment.digest("one", 0) == before) == same
  experiments._config.cache_clear()


@pytest.mark.parametrize("name", experiments.names())
def test_experiments_are_declared_and_their_lines_are_whole(name, capsys):
  experiment = experiments.load(name)
  assert experiment.question.endswith("?")
  for arm in experiment.arms:
    assert experiment.digest(arm, 0)
  assert experiment.rests_on()
  results.main([name, "--table"])
  assert experiment.question in capsys.readouterr().out


def test_figures_rest_on_the_folders_that_a_method_shares():
  """Diffusion is nothing to a classifier."""
  shared = "protojax/diffusion", "protojax/text"
  for name, expected in ("promoe_digits", shared[:1]), ("protopnet_photos", ()):
    found = experiments.load(name).rests_on()
    assert tuple(x for x in shared if x in found) == expected


def test_an_arm_may_lack_a_figure(experiment, tmp_path):
  """MEASURE says None, the line holds null, and the table an empty cell."""
  summary = experiment.measure

  def measure(workdir, data):
    return {**summary(workdir, data), "accuracy": {"last": None}}

  lacking = dataclasses.replace(experiment, measure=measure)
  found = _run(lacking, tmp_path, Trainer())
  assert found[0]["figures"] == {"accuracy": None, "second loss": 1.0}
  rows = list(lines.table(lacking, found))
  assert [row["accuracy"] for row in rows] == ["", ""]
  assert rows[0]["second loss"] != ""


def test_what_an_arm_needs_is_made_before_its_run_alone(experiment, tmp_path):
  made, trainer = [], Trainer()

  def before(arm, data):
    made.append((arm, data, len(trainer.calls)))

  needing = dataclasses.replace(experiment, before=before)
  found = _run(needing, tmp_path, trainer)
  data = tmp_path / "data"
  arms = [(arm, data) for _ in experiment.seeds for arm in experiment.arms]
  assert made == [(*arm, n) for n, arm in enumerate(arms)]
  assert _run(needing, tmp_path, trainer) == found
  assert len(made) == len(arms)
