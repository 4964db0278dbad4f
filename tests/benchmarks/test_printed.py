"""Printed tables are what their experiments give, or say that they are old."""

import pytest

from benchmarks import experiment as experiments
from benchmarks import lines, printed

_EXPERIMENT = """
QUESTION = "Which is better?"
ARMS = {
  "one": ("configs/protopnet_photos.py:debug", {}),
  "two": ("configs/protopnet_photos.py:debug", {"batch_size": 13}),
}
FIGURES = {"accuracy": "accuracy.last"}
SEEDS = (0,)
"""
_TABLE = """\
| arm | seeds | accuracy |
| --- | --- | --- |
| one | 1 | 0.500 |
| two | 1 | 0.600 |
"""
_MARK = "<!-- results: fake -->\n"
_OLD = "Measured before the rate was\nhalved; not measured\nsince.\n"


@pytest.mark.parametrize(
  "file", printed.documents(), ids=lambda file: file.name
)
def test_tables_are_what_their_lines_give(file):
  for table in printed.tables(file):
    assert table.table.count("\n") > 2, f"no table below {table.name}"
    fault = printed.fault(table, experiments.load(table.name))
    assert not fault, f"{table.name}: {fault}"


@pytest.fixture
def experiment(tmp_path, monkeypatch):
  """An experiment with its lines, as one of the repository."""
  (tmp_path / "fake.py").write_text(_EXPERIMENT)
  made = experiments.load("fake", tmp_path)
  monkeypatch.setattr(experiments, "load", lambda name: made)
  monkeypatch.setattr(lines, "path", lambda name: tmp_path / f"{name}.jsonl")
  for arm, value in (("one", 0.5), ("two", 0.6)):
    line = {"arm": arm, "seed": 0, "digest": made.digest(arm, 0)}
    line |= {"commit": "0123abc+", "figures": {"accuracy": value}}
    lines.append(lines.path("fake"), line)
  return made


@pytest.fixture
def page(tmp_path, monkeypatch):
  file = tmp_path / "page.md"
  monkeypatch.setattr(printed, "documents", lambda: [file])
  monkeypatch.setattr(printed, "ROOT", tmp_path)
  return file


def _fault(page, experiment, text):
  page.write_text(text)
  (table,) = printed.tables(page)
  return printed.fault(table, experiment)


def test_a_table_equals_its_lines(page, experiment):
  text = f"# Title\n\n{_MARK}{_TABLE}\nText.\n"
  assert _fault(page, experiment, text) == ""
  assert "--docs" in _fault(page, experiment, text.replace("0.600", "0.601"))
  assert "--docs" in _fault(page, experiment, text.replace("| two", "| other"))


def test_a_table_whose_lines_do_not_stand_says_so(page, experiment, tmp_path):
  changed = _EXPERIMENT.replace("13", "26")
  (tmp_path / "fake.py").write_text(changed)
  now = experiments.Experiment(
    "fake", *_declared(changed, "QUESTION", "ARMS", "FIGURES", "SEEDS")
  )
  text = f"{_MARK}{_TABLE}\n{_OLD}\nMore.\n"
  assert _fault(page, now, text) == ""
  assert "Measure it anew" in _fault(page, now, f"{_MARK}{_TABLE}\nText.\n")
  far = f"{_MARK}{_TABLE}\nText.\n\n{_OLD}"
  assert "Measure it anew" in _fault(page, now, far)
  # And once it is measured, it does not say so any more.
  assert "its lines stand" in _fault(page, experiment, text)


def _declared(text, *names):
  found = {}
  exec(text, found)
  return [found[name] for name in names]


def test_tables_are_written_into_the_documents(page, experiment):
  page.write_text(f"Before.\n\n{_MARK}\nAfter.\n")
  printed.write()
  assert page.read_text() == f"Before.\n\n{_MARK}{_TABLE}\nAfter.\n"
  printed.write()
  assert page.read_text() == f"Before.\n\n{_MARK}{_TABLE}\nAfter.\n"


def test_what_changed_under_a_table_is_told(page, experiment, monkeypatch):
  page.write_text(f"{_MARK}{_TABLE}")
  asked = []

  def git(*arguments):
    asked.append(arguments)
    return {"merge-base": "0123abc", "log": "456 Change a loss"}[arguments[0]]

  monkeypatch.setattr(printed, "git", git)
  assert list(printed.stale()) == [
    "page.md: fake: stands",
    "  measured at 0123abc; 1 commits since",
    "  456 Change a loss",
  ]
  assert asked[0] == ("merge-base", "--octopus", "0123abc")
  assert "0123abc..HEAD" in asked[1]
  for path in ("configs/protopnet_photos.py", "protojax/methods/protopnet"):
    assert path in asked[1]
    assert (experiments.ROOT / path).exists()
  monkeypatch.setattr(printed, "git", lambda *_: "")
  assert "this repository lacks" in list(printed.stale())[1]
