"""`python -m protojax evaluate --planted`: verdicts, figures, a small run."""

import json

import numpy as np
from numpy.testing import assert_allclose
import pytest

from protojax.evaluation import known_causes
from protojax.modify.modification import CHARACTERISTICS
from protojax.modify.presets import BALANCED, REFERENCE
from tests.conftest import run_script


def _measured(scores, train=None, accuracy=0.9):
  scores = np.array(scores)
  train = scores if train is None else np.array(train)
  of_preset = {"train": train, "others": train, "test": scores}
  presets = {"balanced": of_preset, "reference": of_preset}
  return known_causes.Measured(accuracy, presets, 0.0)


def _sharp(name, share=0.6):
  """Prototypes whose scores lie for the most part on one characteristic."""
  row = np.full(5, (1 - share) / 4)
  row[CHARACTERISTICS.index(name)] = share
  return [row, 2 * row]


def test_figures_of_models_that_say_what_they_must():
  measured = {name: [_measured(_sharp(name))] * 2 for name in CHARACTERISTICS}
  found = known_causes.outcome(measured)
  for cause, shares in found["shares"].items():
    for name, share in shares.items():
      assert share == pytest.approx(0.6 if name == cause else 0.1)
  assert set(found["first"].values()) == {1.0}
  assert set(found["accuracy"].values()) == {0.9}
  for kind in ("columns", "rows", "correlations"):
    assert all(found["verdicts"][kind].values())
  assert len(found["seeds"]["balanced"]) == 2
  json.dumps(found)


def test_verdicts_name_what_fails():
  measured = {name: [_measured(_sharp(name))] for name in CHARACTERISTICS}
  # Half of the prototypes of this model rest on contrast.
  mixed = [_sharp("saturation")[0], _sharp("contrast", 0.9)[0]]
  turned = [mixed[1], mixed[0]]
  measured["saturation"] = [_measured(mixed, train=turned)]
  found = known_causes.outcome(measured)
  assert found["first"]["saturation"] == 0.5
  told = found["verdicts"]
  assert [n for n, ok in told["rows"].items() if not ok] == ["saturation"]
  assert [n for n, ok in told["columns"].items() if not ok] == []
  assert not told["correlations"]["saturation"]
  # Stronger, it leads the column of contrast, too.
  measured["saturation"] = [_measured([5 * _sharp("contrast", 0.9)[0]] * 2)]
  told = known_causes.outcome(measured)["verdicts"]
  assert [n for n, ok in told["columns"].items() if not ok] == [
    "contrast",
    "saturation",
  ]


def test_both_presets_in_one_sweep():
  whole = known_causes.together((BALANCED, REFERENCE))
  assert len(whole.modifications) == len(set(whole.names))
  # Two changes differ; the other five are common.
  assert len(whole.names) == len(REFERENCE.names) + 2
  for preset in (BALANCED, REFERENCE):
    rows = known_causes._rows(preset, whole)
    for name, row in zip(CHARACTERISTICS, rows, strict=True):
      (wanted,) = (m for m in preset.modifications if m.name == name)
      got = whole.modifications[row]
      assert (got.change, got.strengths) == (wanted.change, wanted.strengths)


@pytest.mark.slow
def test_a_small_run(tmp_path):
  command = (
    *("-m", "protojax", "evaluate", "--planted", "--debug"),
    *("--only=hue", "--seeds=1"),
    *(f"--workdir={tmp_path / 'runs'}", f"--json={tmp_path / 'found.json'}"),
  )
  done = run_script(*command)
  assert done.returncode == 0, done.stderr
  assert "preset balanced" in done.stdout
  found = json.loads((tmp_path / "found.json").read_text())
  assert_allclose(sum(found["shares"]["hue"].values()), 1)
  assert set(found["shares"]["hue"]) == set(CHARACTERISTICS)
  for figure in ("first", "accuracy"):
    assert 0 <= found[figure]["hue"] <= 1
  assert found["control"] == 0
  again = run_script(*command)
  assert "This run is finished" in again.stdout
