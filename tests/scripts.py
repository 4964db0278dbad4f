"""Scripts of the repository, in processes that have imported JAX already.

To import JAX and what stands on it takes two seconds, more than most of these
runs. A server has done so once, and forks for each: JAX has no threads before
its first computation. Where a whole process matters there is `run_script`.
"""

import multiprocessing
import os
from pathlib import Path
import runpy
import subprocess
import sys
import tempfile
import time

import jax

ROOT = Path(__file__).parent.parent

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
  [
    "protojax.training",
    "protojax.loading",
    "protojax.methods.protopnet",
    "protojax.methods.inp_former",
  ]
)


class Script:
  """A script that runs, on so many devices of the CPU."""

  def __init__(self, *arguments, devices=1, **environment):
    self._arguments = [str(argument) for argument in arguments]
    folder = Path(tempfile.mkdtemp(dir=os.environ["PROTOJAX_TESTS"]))
    self._outputs = folder / "stdout", folder / "stderr"
    for path in self._outputs:
      path.touch()
    self._process = _SERVER.Process(
      target=_become,
      args=(
        self._arguments,
        {**os.environ, **environment},
        devices,
        self._outputs,
      ),
      daemon=True,
    )
    self._process.start()

  def until(self, words):
    """Waits for the words on stdout."""
    out, err = self._outputs
    while words not in out.read_text():
      assert not self.ended(), f"ended without {words!r}: {err.read_text()}"
      time.sleep(0.02)

  def ended(self):
    return self._process.exitcode is not None

  def send(self, signal_number):
    os.kill(self._process.pid, signal_number)

  def finish(self):
    """Waits for the end; exit code, stdout and stderr."""
    self._process.join()
    out, err = (path.read_text() for path in self._outputs)
    return subprocess.CompletedProcess(
      self._arguments, self._process.exitcode, out, err
    )


def run(*arguments, **options):
  """Runs a script to its end; the arguments are those of `Script`."""
  return Script(*arguments, **options).finish()


def _become(arguments, environment, devices, outputs):
  """Turns a process of the server into that of a script."""
  os.chdir(ROOT)
  os.environ.clear()
  os.environ.update(environment)
  for number, path in enumerate(outputs, 1):
    os.dup2(os.open(path, os.O_WRONLY), number)
  sys.stdout.reconfigure(line_buffering=True)
  # What JAX has read from the environment when it was imported.
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", devices)
  sys.argv = arguments
  runpy.run_path(arguments[0], run_name="__main__")
