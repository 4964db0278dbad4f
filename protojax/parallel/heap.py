"""The C library's heap, kept from step to step.

A program of XLA asks for its buffers anew at every call. glibc hands what is
over 32 MB back to the kernel and gets it back page by page, each filled with
zeros: a quarter of ResNet-18's training step at 64 px, a tenth at 224.
"""

import ctypes
import os
import platform

# Of malloc.h. Only the first arena grows without bound, so that there must be
# no other.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_MOST = (1 << 31) - 1  # bytes that are kept at its top; an int there


def keep() -> None:
  """Lets what is freed be used again, up to 2 GB that are in use by nobody.

  Does nothing where the C library is another one, or where the user's
  environment says how memory is to be had.
  """
  chosen = any(name.startswith("MALLOC_") for name in os.environ)
  if platform.libc_ver()[0] != "glibc" or chosen:
    return
  library = ctypes.CDLL(None)
  library.mallopt(_ARENA_MAX, 1)
  library.mallopt(_MMAP_MAX, 0)
  library.mallopt(_TRIM_THRESHOLD, _MOST)
