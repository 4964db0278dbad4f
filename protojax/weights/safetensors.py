"""Reads safetensors: a header in JSON, then the bytes of the tensors.

https://github.com/huggingface/safetensors#format. The format is so simple that
the package is not needed.
"""

import math
import mmap
from typing import Any

import jax.numpy as jnp
import numpy as np

from protojax import json_files
from protojax.shown import shown
from protojax.types import UserError

_DTYPES = {
  "F64": "<f8",
  "F32": "<f4",
  "F16": "<f2",
  "BF16": jnp.bfloat16,
  "F8_E4M3": jnp.float8_e4m3fn,
  "F8_E5M2": jnp.float8_e5m2,
  "F8_E4M3FNUZ": jnp.float8_e4m3fnuz,
  "F8_E5M2FNUZ": jnp.float8_e5m2fnuz,
  "F8_E8M0": jnp.float8_e8m0fnu,
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
# Ten thousand tensors need 1 MB. In memory, JSON takes up to 25 times as much.
_LONGEST_HEADER = 8 << 20
_MOST_AXES = 64  # of an array of NumPy


def recognised(data: mmap.mmap) -> bool:
  """True if the file begins like safetensors."""
  return data[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def read(data: mmap.mmap) -> dict[str, np.ndarray]:
  """Tensors by name, as views of the file.

  Raises:
    UserError: a tensor has an unknown type or reaches past the end; two
      overlap; bytes belong to none; the header is too long.
    Exception: of any kind, for damaged bytes.
  """
  length = int.from_bytes(data[:_LENGTH_BYTES], "little")
  start = _LENGTH_BYTES + length
  if start > len(data):
    raise UserError("it is cut short or damaged: its header ends too early")
  if length > _LONGEST_HEADER:
    raise UserError(
      f"its header has {length:,} bytes; {_LONGEST_HEADER:,} at most are read"
    )
  try:
    header = json_files.parsed(data[_LENGTH_BYTES:start], dict[str, Any])
  except UserError as error:
    raise UserError(f"it is damaged: its header {error}") from error
  header.pop("__metadata__", None)
  content = memoryview(data)[start:]
  found = {name: _tensor(name, of, content) for name, of in header.items()}
  _check_places(header, len(content))
  return found


def _check_places(header: dict[str, Any], length: int) -> None:
  """Checks that the tensors follow each other, up to the end."""
  places = sorted((of["data_offsets"], name) for name, of in header.items())
  last = 0
  for (begin, end), name in [*places, ([length, length], "its end")]:
    if begin != last:
      kind = "tensors overlap" if begin < last else "bytes of no tensor"
      raise UserError(
        f"it is damaged: {kind} before {shown(name)}, at byte"
        f" {min(begin, last)}"
      )
    last = end


def _tensor(name: str, of: dict[str, Any], content: memoryview) -> np.ndarray:
  if of["dtype"] not in _DTYPES:
    raise UserError(f"{shown(name)} has the unknown type {shown(of['dtype'])}")
  dtype, shape = np.dtype(_DTYPES[of["dtype"]]), of["shape"]
  begin, end = of["data_offsets"]
  whole = all(type(number) is int for number in (begin, end, *shape))
  if not whole or len(shape) > _MOST_AXES or min(shape, default=0) < 0:
    raise UserError(f"it is damaged: {shown(name)} has shape {shown(shape)}")
  inside = 0 <= begin <= end <= len(content)
  if not inside or math.prod(shape) * dtype.itemsize != end - begin:
    raise UserError(
      f"it is cut short or damaged: {shown(name)} does not fit its place"
    )
  return np.frombuffer(content[begin:end], dtype).reshape(shape)
