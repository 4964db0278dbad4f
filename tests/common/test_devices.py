"""A run in two processes of one device each, killed and taken up again.

Each process holds a half of the prototypes, the checkpoint all of them.
"""

import json
import signal

import numpy as np
import pytest

from protojax.engine.checkpoint import Checkpoints
from tests.common.processes import finish, start
from tests.conftest import DEBUG

pytestmark = pytest.mark.slow


def _training(folder):
  return [
    "train.py",
    f"--config={DEBUG}",
    f"--workdir={folder}",
    "--config.save_seconds=0.5",
    "--config.prototypes.sharded=True",
    "--config.last.solver=adam",
    # Start, push and last layer are enough to be killed in.
    "--config.warm.epochs=0",
    "--config.joint.epochs=0",
    "--config.prune.nearest=0",
  ]


def test_two_processes_killed_and_resumed_end_as_one_of_two_devices(tmp_path):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  finish(start(_training(whole), devices=2))

  processes = start(_training(killed), processes=2)
  for line in processes[0].stdout:
    if "01-start" in line:
      break
  for process in processes:
    process.send_signal(signal.SIGKILL)
  for process in processes:
    process.communicate()
  assert not (killed / "summary.json").exists()
  said = finish(start(_training(killed), processes=2))
  assert "2 x cpu" in said[0]
  # One of them speaks; Gloo's greeting comes from both.
  assert "accuracy" not in said[1]

  _, arrays = Checkpoints(whole).restore()
  _, others = Checkpoints(killed).restore()
  assert arrays.keys() == others.keys()
  for name in arrays:
    np.testing.assert_array_equal(arrays[name], others[name], err_msg=name)
  events = [
    (folder / "metrics.jsonl").read_text() for folder in (whole, killed)
  ]
  assert events[0] == events[1]
  summary = json.loads((killed / "summary.json").read_text())
  assert summary["devices"] == "2 x cpu"
