"""What is freed is used again, without the kernel."""

import ctypes
import platform
import resource

import numpy as np
import pytest

from protojax.parallel import heap

_BYTES, _PAGE = 1 << 26, 4096


@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="another C library"
)
def test_pages_are_kept(monkeypatch):
  monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)

  def faults():
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(_BYTES, np.uint8)[::_PAGE] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

  faults()
  assert faults() > 0
  heap.keep()
  try:
    faults()
    assert faults() == 0
  finally:
    # What they are in a new process: memory is given back.
    library = ctypes.CDLL(None)
    library.mallopt(-4, 1 << 16)
    library.mallopt(-1, 1 << 17)


def test_the_users_choice_stands(monkeypatch):
  monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
  monkeypatch.setattr(ctypes, "CDLL", None)
  heap.keep()
