"""Small files that describe much: what a reader makes in memory is bounded."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from protojax.types import UserError
from protojax.weights import reading
from tests.weights import foreign_files

_BUDGET = 1 << 16
_MOST_BYTES = 2 << 20  # of the budget and of what Python adds


def _text(content):
  return b"X" + struct.pack("<I", len(content)) + content.encode()


# A pickle after the other: something is made and remembered, and then used
# again and again, a few bytes each time.
_BOMBS = {
  "tuples": b"](" + b")\x85" * 1_200 + b"e.",
  "dicts": b"](" + b"}" * 1_200 + b"e.",
  "copies": b"("
  + b"K\x01" * 1200
  + b"tq\x00]("
  + b"cbuiltins\nset\nh\x00\x85R" * 1200
  + b"e.",
  "letters": _text("\u4e00" * 1200)
  + b"q\x00]("
  + b"ctorch\nSize\nh\x00\x85R" * 1200
  + b"e.",
  "dicts of pairs": b"]("
  + b"K\x01K\x02\x86" * 1200
  + b"eq\x00]("
  + b"ccollections\nOrderedDict\nh\x00\x85R" * 1200
  + b"e.",
  "joined": _text("a" * 50_000) + b"q\x00](" + b"h\x00h\x00\x93" * 1200 + b"e.",
  "objects": b"cx\ny\nq\x00](" + b"h\x00)R" * 1_200 + b"e.",
  "numbers": b"](" + (b"\x8a\xff" + b"\x11" * 255) * 300 + b"e.",
}


def _peak(path, read):
  """The message of a file that is refused, and the most bytes in memory."""
  tracemalloc.start()
  try:
    with pytest.raises(UserError) as error:
      read(path)
    return str(error.value), tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize("name", _BOMBS)
def test_what_a_pickle_makes_is_bounded(tmp_path, monkeypatch, name):
  monkeypatch.setattr("protojax.weights.pickled._MOST_BYTES", _BUDGET)
  path = tmp_path / "bomb.pth"
  path.write_bytes(b"\x80\x02" + _BOMBS[name])
  for read in reading.read, reading.read_module:
    message, peak = _peak(path, read)
    assert peak < _MOST_BYTES
    assert len(message) < 400


def _doubled(times):
  """A tuple of two tuples of two tuples, and so on; it has the mark 0."""
  return b"K\x01" + b"q\x00h\x00\x86" * times + b"q\x00"


@pytest.mark.parametrize(
  "opcodes",
  [
    _doubled(100) + b"N\x86Q.",
    _doubled(100) + b"(" + _text("storage") + b"h\x00" * 4 + b"tQ.",
    _doubled(100) + b"(" + _text("storage") + b"ctorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000Nh\x00tQ.",
    _doubled(100) + b"h\x00h\x00\x93.",
    b"}h\x00Ns." + _doubled(100),
  ],
)
def test_what_holds_itself_is_cut_in_messages(tmp_path, opcodes):
  path = tmp_path / "bomb.pth"
  path.write_bytes(b"\x80\x02" + opcodes)
  message, peak = _peak(path, reading.read)
  assert len(message) < 400
  assert peak < _MOST_BYTES


def _fields(draw, depth=0):
  """Opcodes that leave one value of a random structure on the stack."""
  deep = depth == 4
  kind = draw.integers(3 if deep else 9)
  inner = [
    _fields(draw, depth + 1) for _ in range(0 if deep else draw.integers(4))
  ]
  some = b"".join(inner)
  match kind:
    case 0:
      return b"K" + draw.bytes(1)
    case 1:
      return _text("a" * int(draw.integers(2000)))
    case 2:
      return b"h\x00" * 3 + b"\x87"
    case 3:
      return b"](" + some + b"e"
    case 4:
      pairs = b"".join(_text(str(i)) + one for i, one in enumerate(inner))
      return b"}(" + pairs + b"u"
    case 5:
      return b"(" + some + b"t"
    case 6:
      return b"cmodel\nNet\n(" + some + b"tR}(" + _text("x") + b"h\x00ub"
    case 7:
      name = draw.choice([b"builtins\nset", b"torch\nSize", b"os\nsystem"])
      return b"c" + name + b"\n(" + some + b"t\x85R"
    case _:
      return (b"(" + some + b"tq\x00" + b"h\x00h\x00\x86q\x00") * 2 + b"\x86"


@pytest.mark.slow
def test_generated_structures_end_in_a_line(tmp_path, monkeypatch):
  monkeypatch.setattr("protojax.weights.pickled._MOST_BYTES", _BUDGET)
  draw = np.random.default_rng(0)
  path = tmp_path / "file.pth"
  head = b"\x80\x02K\x01q\x00"
  for _ in range(60):
    # The value stands where a file has its state dict.
    value = b"}(" + _text("state_dict") + _fields(draw) + b"u."
    with zipfile.ZipFile(path, "w") as archive:
      archive.writestr("a/data.pkl", head + value)
    for read in reading.read, reading.read_module:
      message = ""
      tracemalloc.start()
      try:
        read(path)
      except UserError as error:
        message = str(error)
      assert len(message) < 1000
      _, peak = tracemalloc.get_traced_memory()
      tracemalloc.stop()
      assert peak < _MOST_BYTES


def test_a_module_in_itself_under_a_long_name(tmp_path, torch):
  net = foreign_files.stand_in("model.Net")()
  net._parameters, net._buffers, net._modules = {}, {}, {}
  net._modules["a" * 900] = net
  path = tmp_path / "net.pth"
  path.write_bytes(foreign_files.zipped(net))
  message, peak = _peak(path, reading.read_module)
  assert "has more than 1000 characters" in message
  assert peak < _MOST_BYTES


def test_modules_that_share_many_attributes(tmp_path, torch, monkeypatch):
  """A hundred modules that are one, of a hundred attributes each."""
  monkeypatch.setattr("protojax.weights.pytorch._MOST_ENTRIES", 1000)
  inner, net = (foreign_files.stand_in("model.Net")() for _ in range(2))
  inner._parameters, inner._modules = {}, {}
  inner._buffers = {}
  inner.__dict__.update({f"a{i}": 1 for i in range(100)})
  net._parameters, net._buffers = {}, {}
  net._modules = {str(i): inner for i in range(100)}
  path = tmp_path / "net.pth"
  path.write_bytes(foreign_files.zipped(net))
  with pytest.raises(UserError, match="more than 1000 attributes"):
    reading.read_module(path)


def test_files_of_a_zip_archive_that_are_the_same_bytes(tmp_path):
  """Each entry would be read for its checksum."""
  path = tmp_path / "overlap.npz"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("0.npy", bytes(10_000))
    for i in range(1, 200):
      entry = zipfile.ZipInfo(f"{i}.npy")
      one = archive.infolist()[0]
      entry.header_offset, entry.CRC = one.header_offset, one.CRC
      entry.file_size = entry.compress_size = one.file_size
      archive.filelist.append(entry)
    archive._didModify = True
  with pytest.raises(UserError, match="longer than itself"):
    reading.read(path)
