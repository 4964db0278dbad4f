"""Reads BDF, BioSemi's format of recordings: a header, then 24-bit samples.

Sixty lines in place of a library: the ones there are bring a whole toolbox for
EEG, and a BDF is a table of numbers.
"""

from collections.abc import Sequence
import dataclasses
from pathlib import Path
from typing import IO

from jaxtyping import Float
import numpy as np

from protojax import text_files
from protojax.types import UserError

_MAGIC = b"\xffBIOSEMI"
_HEAD = 256  # bytes of the header, and of each channel's part of it
# Width of each field of a channel, in the order of the file.
_FIELDS = (
  *(("label", 16), ("transducer", 80), ("unit", 8), ("low", 8), ("high", 8)),
  *(("digital_low", 8), ("digital_high", 8), ("filter", 80), ("samples", 8)),
  ("reserved", 32),
)


@dataclasses.dataclass(frozen=True)
class Signals:
  """Channels of a file that have one rate.

  Attributes:
    names: of the channels.
    values: in the unit of the file, mostly microvolts.
    rate: samples a second.
  """

  names: tuple[str, ...]
  values: Float[np.ndarray, "t e"]
  rate: float


def channels(path: Path) -> tuple[str, ...]:
  """Names of the channels of a file; reads the header alone."""
  with text_files.opened(path) as raw:
    return tuple(_header(path, raw.read(_HEAD), raw)["label"])


def read(path: Path, wanted: Sequence[int]) -> Signals:
  """Reads some channels of a file, by their numbers.

  Raises:
    UserError: it is no BDF, is cut off, or the channels have several rates.
  """
  with text_files.opened(path) as raw:
    head = raw.read(_HEAD)
    fields = _header(path, head, raw)
    try:
      records, duration = int(head[236:244]), float(head[244:252])
      samples = [int(x) for x in fields["samples"]]
    except ValueError as error:
      raise UserError(f"{path}: the header has a word for a number") from error
    content = raw.read()
  if duration <= 0 or min(samples) < 1:
    raise UserError(f"{path}: a record lasts {duration:g} s; expected above 0")
  size = 3 * sum(samples)
  there = len(content) // size
  if records < 0:  # A recording that was not closed says -1.
    records = there
  if there < records or not records:
    raise UserError(
      f"{path} is cut off: {there} of {records} records are there; copy it anew"
    )
  own = {samples[i] for i in wanted}
  if len(own) != 1:
    raise UserError(f"{path}: the channels have several rates: {sorted(own)}")
  block = np.frombuffer(content, np.uint8, records * size)
  rows = block.reshape(records, sum(samples), 3)
  ends = np.cumsum(samples)
  values = [
    _scaled(rows[:, ends[i] - samples[i] : ends[i]], fields, i) for i in wanted
  ]
  return Signals(
    tuple(fields["label"][i] for i in wanted),
    np.stack(values, axis=1),
    own.pop() / duration,
  )


def _header(path: Path, head: bytes, raw: IO[bytes]) -> dict[str, list[str]]:
  """Field -> its text for each channel."""
  if len(head) < _HEAD or head[:8] != _MAGIC:
    raise UserError(f"{path} is no BDF file: it begins with {head[:8]!r}")
  try:
    count = int(head[252:256])
  except ValueError as error:
    raise UserError(f"{path}: the number of channels is no number") from error
  rest = raw.read(count * _HEAD)
  if count < 1 or len(rest) < count * _HEAD:
    raise UserError(f"{path} is cut off within its header; copy it anew")
  found, at = {}, 0
  for name, width in _FIELDS:
    block = rest[at : at + count * width].decode("latin-1")
    found[name] = [
      block[i * width : (i + 1) * width].strip() for i in range(count)
    ]
    at += count * width
  return found


def _scaled(
  rows: np.ndarray, fields: dict[str, list[str]], i: int
) -> Float[np.ndarray, " t"]:
  """24-bit little-endian samples in the unit of the channel."""
  x = rows.reshape(-1, 3).astype(np.int32)
  value = x[:, 0] | x[:, 1] << 8 | x[:, 2] << 16
  value = np.where(value >= 1 << 23, value - (1 << 24), value)
  low, high, least, most = (
    float(fields[name][i])
    for name in ("low", "high", "digital_low", "digital_high")
  )
  return low + (value - least) * (high - low) / (most - least)
