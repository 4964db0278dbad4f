"""A disk that takes no more: one line of error, and nothing lost.

The limit on the size of a file stands for the disk: it needs no rights.
"""

import re

import pytest

from protojax.engine.checkpoint import Checkpoints
from tests.conftest import run_script

# Saves twice; the second time, files may have only so many bytes.
_SAVE = """
import pathlib, resource, sys
import numpy as np
from protojax import cli
from protojax.engine.checkpoint import Checkpoints, Progress
from protojax.types import State

def state(size):
  rng = np.random.default_rng(0)
  params = {f"p{i}": rng.normal(size=size) for i in range(20)}
  return State(params=params, statistics={}, buffers={})

def main():
  checkpoints = Checkpoints(pathlib.Path(sys.argv[2]))
  limit = int(sys.argv[1])
  checkpoints.save(Progress(step=1), state(10), {})
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  checkpoints.save(Progress(step=2), state(100_000), {})

sys.exit(cli.guarded(main))
"""

_LOG = """
import pathlib, resource, sys
from protojax import cli
from protojax.engine.log import Log

def main():
  log = Log(pathlib.Path(sys.argv[2]))
  limit = int(sys.argv[1])
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  for step in range(1000):
    log.event("01-warm", 1, step, "train", {"loss": 1.0}, step)

sys.exit(cli.guarded(main))
"""


def _one_line(done):
  assert done.returncode == 2, done.stderr
  assert re.fullmatch(
    r"error: .* could not be written: .* Make room .*\n", done.stderr
  )


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 1000, 1_000_000])
def test_a_checkpoint_that_does_not_fit(tmp_path, limit):
  done = run_script("-c", _SAVE, limit, tmp_path)
  _one_line(done)
  assert "The one before it is intact" in done.stderr
  checkpoints = Checkpoints(tmp_path)
  assert checkpoints.restore()[0].step == 1
  assert checkpoints.progress().step == 1
  checkpoints.close()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 3000, 20_000])
def test_a_log_that_does_not_fit(tmp_path, limit):
  _one_line(run_script("-c", _LOG, limit, tmp_path))
