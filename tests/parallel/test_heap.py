"""What is freed is used again, without the kernel."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from protojax.parallel import heap

# Pages that the kernel gives for 64 MB, asked for again: before and after.
_PROCESS = """
import resource
import numpy as np
from protojax.parallel import heap

def faults():
  begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.empty(1 << 26, np.uint8)[::4096] = 1
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

faults()
before = faults()
heap.keep()
faults()
print(before, faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="another C library"
)
def test_pages_are_kept():
  # A process of its own: another test may have set this one up.
  own = {k: x for k, x in os.environ.items() if not k.startswith("MALLOC_")}
  done = subprocess.run(
    [sys.executable, "-c", _PROCESS],
    env=own,
    capture_output=True,
    text=True,
    check=True,
  )
  before, after = map(int, done.stdout.split())
  assert before > 0
  assert after == 0


def test_the_users_choice_stands(monkeypatch):
  monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
  monkeypatch.setattr(ctypes, "CDLL", None)
  heap.keep()
