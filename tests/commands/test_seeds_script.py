"""`train.py` with several seeds, a stand-in for what one run does."""

import json

import pytest

from tests.conftest import DEBUG, run_script

# A run that reaches its seed; where "stop" lies in its folder, it is stopped.
_TRAIN = """
import sys
from protojax import cli
from protojax.operations import training
from protojax.engine import workdir

def stand_in(folder, config, loggers):
  print("run", folder.name, config.seed, config.seeds)
  if (folder / "stop").exists():
    (folder / "stop").unlink()
    return 143
  summary = {"seed": config.seed, "metrics": {"accuracy": config.seed / 8}}
  workdir.write_json(folder / "summary.json", summary)
  return 0

training.train = stand_in
sys.exit(cli.run("train", sys.argv[1:], "train.py"))
"""


def _train(folder, *flags):
  return run_script(
    "-c", _TRAIN, f"--config={DEBUG}", f"--workdir={folder}", *flags
  )


@pytest.mark.slow
def test_seeds_are_trained_one_after_the_other(tmp_path):
  flags = "--config.seed=1", "--config.seeds=3"
  (tmp_path / "seed-2").mkdir()
  (tmp_path / "seed-2" / "stop").touch()
  done = _train(tmp_path, *flags)
  assert done.returncode == 143, done.stderr
  assert done.stdout.splitlines() == ["run seed-1 1 1", "run seed-2 2 1"]
  assert not (tmp_path / "summary.json").exists()
  done = _train(tmp_path, *flags)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[:3] == [f"run seed-{s} {s} 1" for s in (1, 2, 3)]
  assert " ".join(lines[-1].split()) == "accuracy 0.125 0.250 0.375 0.250 0.125"
  summary = json.loads((tmp_path / "summary.json").read_text())
  assert summary["metrics"]["accuracy"]["mean"] == pytest.approx(0.25)
