"""What `accelerators.py run` compares, writes and leaves when it is cut off."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import device_checks, device_rows, device_tasks, on_device
from protojax import methods
from tests.conftest import ROOT


def met(found, expected):
  rows = device_checks.compared("fake", found, expected)
  return {row["row"].removeprefix("fake, "): row["met"] for row in rows}


def test_a_first_loss_is_held_to_more_than_those_after_it():
  expected = {"01-joint losses": np.array([2.0, 1.0])}
  assert met({"01-joint losses": np.array([2.0, 1.01])}, expected) == {
    "first loss": "yes",
    "losses": "yes",
  }
  assert met({"01-joint losses": np.array([2.01, 1.0])}, expected) == {
    "first loss": "no",
    "losses": "yes",
  }


def test_few_numbers_may_be_off_and_nan_only_where_it_is_expected():
  array = np.linspace(1, 2, 100)
  few, many, lost = array.copy(), array.copy(), array.copy()
  few[:5], many[:6], lost[:6] = 0, 0, np.nan
  found = [met({"x": x}, {"x": array}) for x in (array, few, many, lost)]
  key = "states and answers"
  assert [row[key] for row in found] == ["yes", "yes", "no", "no"]
  assert met({"x": lost}, {"x": lost}) == {key: "yes"}
  cells = np.arange(10)
  assert met({"x": cells + 1}, {"x": cells}) == {key: "no"}
  with pytest.raises(ValueError, match="other arrays"):
    met({"y": array}, {"x": array})


def test_rows_of_a_run_that_was_cut_off(tmp_path, capsys):
  file = tmp_path / "rows.jsonl"
  journal = on_device.Journal(str(file))
  for number in (1, 2):
    journal.add({"row": f"row {number}", "ratio": number, "note": ""})
  told = capsys.readouterr().out
  assert told == "row: row 1; ratio: 1\nrow: row 2; ratio: 2\n"
  journal.add({"row": "machine"})
  with file.open("a") as lines:
    lines.write('{"row": "cut')
  rows = on_device.rows(str(file))
  assert [row["row"] for row in rows] == ["row 1", "row 2", "machine"]
  assert "".join(on_device.tables(rows)) == (
    "| row | ratio | note |\n| --- | --- | --- |\n| row 1 | 1 |  |\n"
    "| row 2 | 2 |  |\n\n| row |\n| --- |\n| machine |\n"
  )


def test_every_method_is_checked_and_checks_come_first():
  tasks = device_tasks.tasks(quick=False)
  names = [task.name for task in tasks]
  assert len(set(names)) == len(names)
  assert {f"stages-{name}" for name in methods.names()} < set(names)
  checks = [task.check for task in tasks]
  assert checks == sorted(checks, reverse=True)
  assert names[-len(device_rows.ROWS) :] == list(device_rows.ROWS)


# What needs no other side; `scores`, `bf16` and `explanation` take minutes to
# compile.
_TASKS = ("kernel", "push", "stages-irca", "million", "transport", "prune")


@pytest.mark.slow
def test_the_command_leaves_a_row_of_each_task(tmp_path):
  file = tmp_path / "rows.jsonl"
  command = [sys.executable, "benchmarks/accelerators.py", "run", "--quick"]
  command += ["--minutes", "60", "--json", file, "--only", *_TASKS]
  subprocess.run(command, cwd=ROOT, check=True)
  rows = [json.loads(line) for line in file.read_text().splitlines()]
  assert rows[0]["row"] == "machine"
  assert rows[-1]["failed"] == "nothing"
  told = [row["row"] for row in rows]
  for begins in (*_TASKS[:3], "step, P = ", "transport"):
    assert any(name.startswith(begins) for name in told), begins
