"""Starts scripts in one process or in several that find each other."""

import os
import socket
import subprocess
import sys

from tests.conftest import ROOT


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
    # With the folders of this process's own, such as that of the toys.
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
      **os.environ,
      "JAX_NUM_CPU_DEVICES": str(devices),
      "PYTHONPATH": os.pathsep.join(places),
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
