"""What makes the guard fail: a ratio that fell, and a row nobody keeps."""

import dataclasses
import json
import sys

import pytest

from benchmarks import guard


@dataclasses.dataclass
class Fake:
  """A row whose ratio is known."""

  row: str
  ratio: float
  better: str = "lower"

  def measure(self, repeats):
    assert repeats
    # A row may tell more than it is kept by.
    return {"row": f"{self.row}: 1 GB", "ratio": self.ratio}


@pytest.fixture
def guarded(monkeypatch, tmp_path):
  """Exit code of the guard on rows, and what it says of errors."""

  def run(*rows):
    kept = {"any": {"memory": 1.0}, "A": {"maps": 1.0}, "B": {"list": 1.0}}
    (tmp_path / "ratios.json").write_text(json.dumps(kept))
    monkeypatch.setattr(guard, "_FILE", tmp_path / "ratios.json")
    monkeypatch.setattr(guard, "pairs", lambda: iter(rows))
    monkeypatch.setattr(guard.harness, "maker", lambda: "A")
    monkeypatch.setattr(sys, "argv", ["guard.py"])
    return guard.main()

  return run


def test_only_a_third_more_fails(guarded, capsys):
  assert guarded(Fake("memory", 1.4), Fake("maps", 1.4)) == 0
  assert guarded(Fake("memory", 1.4), Fake("maps", 1.6)) == 1
  assert "fallen by a third or more: maps\n" in capsys.readouterr().err


def test_a_row_of_another_maker_is_measured_and_does_not_fail(guarded, capsys):
  assert guarded(Fake("list", 9.0)) == 0
  assert guarded(Fake("new", 1.0)) == 1
  assert "add it with --write: new\n" in capsys.readouterr().err
