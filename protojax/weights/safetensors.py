"""Reads safetensors: a header in JSON, then the bytes of the tensors.

https://github.com/huggingface/safetensors#format. The format is so simple that
the package is not needed.
"""

import json
import math
import mmap
from typing import Any

import jax.numpy as jnp
import numpy as np

from protojax.types import UserError

_DTYPES = {
  "F64": "<f8",
  "F32": "<f4",
  "F16": "<f2",
  "BF16": jnp.bfloat16,
  "I64": "<i8",
  "I32": "<i4",
  "I16": "<i2",
  "I8": "i1",
  "U64": "<u8",
  "U32": "<u4",
  "U16": "<u2",
  "U8": "u1",
  "BOOL": "?",
}
_LENGTH_BYTES = 8


def recognised(data: mmap.mmap) -> bool:
  """True if the file begins like safetensors."""
  return data[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def read(data: mmap.mmap) -> dict[str, np.ndarray]:
  """Tensors by name, as views of the file.

  Raises:
    UserError: a tensor has an unknown type, or reaches past the end.
    Exception: of any kind, for damaged bytes.
  """
  start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
  if start > len(data):
    raise UserError("it is cut short or damaged: its header ends too early")
  header = json.loads(data[_LENGTH_BYTES:start])
  header.pop("__metadata__", None)
  content = memoryview(data)[start:]
  return {name: _tensor(name, of, content) for name, of in header.items()}


def _tensor(name: str, of: dict[str, Any], content: memoryview) -> np.ndarray:
  if of["dtype"] not in _DTYPES:
    raise UserError(f"{name!r:.200} has the unknown type {of['dtype']!r:.80}")
  dtype, shape = np.dtype(_DTYPES[of["dtype"]]), of["shape"]
  begin, end = of["data_offsets"]
  inside = 0 <= begin <= end <= len(content)
  if not inside or math.prod(shape) * dtype.itemsize != end - begin:
    raise UserError(
      f"it is cut short or damaged: {name!r:.200} does not fit its place"
    )
  return np.frombuffer(content[begin:end], dtype).reshape(shape)
