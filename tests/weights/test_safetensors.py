"""Files of safetensors, judged by the package of its authors."""

import json

import numpy as np
import pytest
import safetensors as oracle

from protojax.types import UserError
from protojax.weights import reading

_TYPES = {
  **{"F32": 4, "BF16": 2, "I64": 8, "U8": 1, "BOOL": 1, "F16": 2},
  **{"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1},
}


def _file(header, content, lengthen=0):
  text = header if isinstance(header, str) else json.dumps(header)
  length = len(text.encode()) + lengthen
  return length.to_bytes(8, "little") + text.encode() + content


def _read(tmp_path, content):
  path = tmp_path / "file.safetensors"
  path.write_bytes(content)
  return reading.read(path)


def _judged(content):
  """Name -> (type, shape, bytes) by the package; None if it refuses."""
  try:
    found = oracle.deserialize(content)
  except oracle.SafetensorError:
    return None
  return {
    name: (of["dtype"], tuple(of["shape"]), bytes(of["data"]))
    for name, of in found
  }


def _generated(draw):
  """A header of a random structure, often with a fault; and its bytes."""
  header, end = {}, 0
  for i in range(draw.integers(5)):
    kind = str(draw.choice(list(_TYPES)))
    shape = [int(n) for n in draw.integers(0, 4, draw.integers(4))]
    begin = end
    end += int(np.prod(shape, dtype=int)) * _TYPES[kind]
    place = [begin, end]
    header[f"t{i}"] = {"dtype": kind, "shape": shape, "data_offsets": place}
  content = draw.bytes(end)
  match draw.integers(10) if header else 9:
    case 0:  # a place is moved
      one = header[str(draw.choice(list(header)))]
      step = int(draw.integers(-3, 4))
      one["data_offsets"] = [n + step for n in one["data_offsets"]]
    case 1:
      content += draw.bytes(draw.integers(1, 4))
    case 2:
      header[str(draw.choice(list(header)))]["dtype"] = "F31"
    case 3:
      header[str(draw.choice(list(header)))]["shape"].append(2)
    case 4:  # two tensors of the same bytes
      header["twin"] = header["t0"]
    case 5:
      del header[str(draw.choice(list(header)))]
    case 6:
      content = content[:-1]
  if draw.random() < 0.3:
    header["__metadata__"] = {"format": "pt"}
  names = list(header)
  draw.shuffle(names)
  return {name: header[name] for name in names}, content


def test_generated_files_are_read_as_the_package_reads_them(tmp_path):
  draw = np.random.default_rng(0)
  verdicts = set()
  for _ in range(300):
    content = _file(*_generated(draw))
    want = _judged(content)
    verdicts.add(want is None)
    if want is None:
      with pytest.raises(UserError):
        _read(tmp_path, content)
      continue
    got = _read(tmp_path, content)
    assert got.keys() == want.keys()
    for name, (_, shape, data) in want.items():
      assert got[name].shape == shape
      assert got[name].tobytes() == data
  assert verdicts == {True, False}


def test_numbers_of_eight_bits(tmp_path):
  """Values worked by hand from sign, exponent and mantissa."""
  for kind, bits, values in (
    ("F8_E4M3", b"\x38\xc0\x7e\x01", [1.0, -2.0, 448.0, 2.0**-9]),
    ("F8_E5M2", b"\x3c\xc0\x7b\x01", [1.0, -2.0, 57344.0, 2.0**-16]),
  ):
    header = {"x": {"dtype": kind, "shape": [4], "data_offsets": [0, 4]}}
    got = _read(tmp_path, _file(header, bits))["x"]
    np.testing.assert_array_equal(got.astype(np.float32), values)


def _of(*places):
  return {
    f"t{i}": {"dtype": "U8", "shape": [end - begin], "data_offsets": place}
    for i, place in enumerate(places)
    for begin, end in [place]
  }


@pytest.mark.parametrize(
  ("places", "message"),
  [
    ([[0, 4], [2, 8]], "tensors overlap before 't1', at byte 2"),
    ([[0, 8], [0, 8]], "tensors overlap before 't1'"),
    ([[0, 3], [4, 8]], "bytes of no tensor before 't1', at byte 3"),
    ([[0, 4]], "bytes of no tensor before 'its end', at byte 4"),
  ],
)
def test_overlaps_and_holes_are_named(tmp_path, places, message):
  content = _file(_of(*places), bytes(8))
  assert _judged(content) is None
  with pytest.raises(UserError, match=message):
    _read(tmp_path, content)


def test_long_headers_are_not_parsed(tmp_path):
  text = "{" + " " * (8 << 20) + "}"
  with pytest.raises(UserError, match=r"header has 8,388,610 bytes; 8,388,608"):
    _read(tmp_path, _file(text, b""))


@pytest.mark.parametrize(
  "text",
  [
    '{"x": ' + "[" * 100_000,
    '{"x": {"dtype": "U8", "shape": ['
    + "9" * 5000
    + '], "data_offsets": [0]}}',
    '{"x": 1, "x": 2}',
    '{"x": {"dtype": ' + "[" * 500 + "]" * 500 + "}}",
    '{"\\ud800": 1}',
  ],
)
def test_strange_headers_end_in_a_line(tmp_path, text):
  with pytest.raises(UserError) as error:
    _read(tmp_path, _file(text, b""))
  assert len(str(error.value)) < 400


def test_a_state_dict_is_a_module_without_kinds(tmp_path):
  of = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
  path = tmp_path / "file.safetensors"
  path.write_bytes(_file({"module.w": of}, np.float32([1, 2]).tobytes()))
  found = reading.read_module(path)
  assert (found.kinds, found.attributes) == ({}, {})
  np.testing.assert_array_equal(found.tensors["w"], [1, 2])
  of["shape"] = [-4, 2]
  path.write_bytes(_file({"w": of}, bytes(8)))
  with pytest.raises(UserError, match=r"'w' has shape \[-4, 2\]"):
    reading.read_module(path)
