"""A workdir among images: the next run would take it for a class."""

import pytest

from protojax.__main__ import main
from protojax.operations import training
from tests.conftest import ROOT


def _typed(root, place):
  return [
    "train",
    f"--config={ROOT}/configs/protopnet_folder.py:debug",
    f"--config.data.root={root}",
    f"--workdir={place}",
  ]


@pytest.mark.parametrize("below", ["", "runs", "a/run"])
def test_a_workdir_among_classes_is_refused_untouched(tmp_path, capsys, below):
  for name in "a", "b":
    (tmp_path / name).mkdir()
  before = sorted(tmp_path.rglob("*"))
  assert main(_typed(tmp_path, tmp_path / below)) == 2
  said = capsys.readouterr().err
  assert "lies in --config.data.root" in said
  assert said.count("\n") == 1
  assert sorted(tmp_path.rglob("*")) == before


def test_beside_splits_and_elsewhere_it_does_no_harm(tmp_path, monkeypatch):
  def reached(folder, config, make, loggers):
    del config, make, loggers
    return int(folder.name == "run")

  monkeypatch.setattr(training, "_trained", reached)
  for name in "split/Train", "split/test", "classes/a", "classes/b":
    (tmp_path / name).mkdir(parents=True)
  for root, place in [
    ("split", "split/run"),
    ("classes", "run"),
    ("classes", "classes2/run"),
    ("gone", "gone/run"),
  ]:
    assert main(_typed(tmp_path / root, tmp_path / place)) == 1
