"""Reads the files in a zip archive as views of its bytes; unpacks nothing."""

import mmap
import struct
import zipfile
import zlib

from protojax.shown import shown
from protojax.types import UserError

_LOCAL_HEADER = struct.Struct("<4s22xHH")


def members(data: mmap.mmap) -> dict[str, memoryview]:
  """Name -> bytes of every file in the archive, none of them compressed.

  Args:
    data: the whole archive.

  Raises:
    UserError: a file is compressed, encrypted or damaged, or lies in another.
    Exception: of any kind, for damaged bytes.
  """
  # zipfile reads an mmap as it does a file.
  with zipfile.ZipFile(data) as archive:  # pyrefly: ignore
    entries = archive.infolist()
    # Each file is read once for its checksum: no byte is of a thousand files.
    stored = [e for e in entries if e.compress_type == zipfile.ZIP_STORED]
    if sum(entry.file_size for entry in stored) > len(data):
      raise UserError("it is damaged: its files would be longer than itself")
    return {entry.filename: _bytes(data, entry) for entry in entries}


def _bytes(data: mmap.mmap, entry: zipfile.ZipInfo) -> memoryview:
  name = entry.filename
  if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
    raise UserError(
      f"{shown(name)} in it is compressed or encrypted; save it unpacked, as"
      " torch.save and numpy.savez do"
    )
  start = entry.header_offset
  header = data[start : start + _LOCAL_HEADER.size]
  mark, name_length, extra_length = _LOCAL_HEADER.unpack(header)
  start += _LOCAL_HEADER.size + name_length + extra_length
  found = memoryview(data)[start : start + entry.file_size]
  if mark != b"PK\x03\x04" or len(found) != entry.file_size:
    raise UserError(f"it is cut short or damaged at {shown(name)}")
  if zlib.crc32(found) != entry.CRC:
    raise UserError(f"it is damaged: {shown(name)} has another checksum")
  return found
