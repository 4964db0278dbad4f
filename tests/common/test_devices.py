"""The same numbers on one device, on two, and in two processes of one each."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from protojax.train.checkpoint import Checkpoints
from tests.conftest import DEBUG, ROOT

pytestmark = pytest.mark.slow


def _port():
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def start(arguments, devices=1, processes=1):
  """Starts one or several processes of a run; they find each other."""
  port = _port()
  started = []
  for index in range(processes):
    together = {
      "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
      "JAX_NUM_PROCESSES": str(processes),
      "JAX_PROCESS_ID": str(index),
    }
    environment = {
      **os.environ,
      "JAX_NUM_CPU_DEVICES": str(devices),
      "PYTHONPATH": str(ROOT),
      **(together if processes > 1 else {}),
    }
    flags = ["--distributed"] if processes > 1 else []
    started.append(
      subprocess.Popen(
        [sys.executable, "-u", *map(str, arguments), *flags],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
      )
    )
  return started


def finish(processes):
  """Waits for all; their outputs."""
  outputs = [process.communicate()[0] for process in processes]
  for process, output in zip(processes, outputs, strict=True):
    assert process.returncode == 0, output
  return outputs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  folder = tmp_path_factory.mktemp("devices")

  def work(name, devices, processes):
    arguments = folder / f"{name}.npz", folder / "start"
    return start(["tests/common/worker.py", *arguments], devices, processes)

  # The first makes the checkpoint that all start from.
  finish(work("1", 1, 1))
  finish([*work("2", 2, 1), *work("2x1", 1, 2)])
  return {n: dict(np.load(folder / f"{n}.npz")) for n in ("1", "2", "2x1")}


@pytest.mark.parametrize("name", ["2", "2x1"])
def test_numbers_do_not_depend_on_the_devices(runs, name):
  one, other = runs["1"], runs[name]
  assert (int(one["devices"]), int(other["devices"])) == (1, 2)
  assert len(one["losses"]) == 20
  np.testing.assert_allclose(other["losses"], one["losses"], rtol=1e-5)
  np.testing.assert_array_equal(other["image"], one["image"])
  np.testing.assert_array_equal(other["cell"], one["cell"])
  for key in ("prototypes", "moved", "scores", "local", "overall"):
    assert one[key].size
    np.testing.assert_allclose(
      other[key], one[key], rtol=1e-5, atol=1e-5, err_msg=key
    )


def _training(folder):
  return [
    "train.py",
    f"--config={DEBUG}",
    f"--workdir={folder}",
    "--config.save_seconds=0.5",
    # Start, joint, push and last layer are enough to be killed in.
    "--config.warm.epochs=0",
    "--config.prune.nearest=0",
  ]


def test_two_processes_killed_and_resumed_end_the_same(tmp_path):
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  said = finish(start(_training(whole), processes=2))
  assert "2 x cpu" in said[0]
  # One of them speaks; Gloo's greeting comes from both.
  assert "accuracy" not in said[1]

  processes = start(_training(killed), processes=2)
  for line in processes[0].stdout:
    if "01-start" in line:
      break
  for process in processes:
    process.send_signal(signal.SIGKILL)
  for process in processes:
    process.communicate()
  assert not (killed / "summary.json").exists()
  finish(start(_training(killed), processes=2))

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
