"""Pickles of PyTorch are read as data; functions in them are not called."""

import argparse
import collections
from collections import OrderedDict
import datetime
import os
import pathlib
import pickle

import numpy as np
import pytest

from protojax.types import UserError
from protojax.weights import reading
from tests.weights import foreign_files
from tests.weights.foreign_files import Call, Storage, Tensor

_WRITERS = (foreign_files.legacy, foreign_files.zipped)


@pytest.fixture(params=_WRITERS, ids=["legacy", "zip"])
def written(tmp_path, torch, request):
  """Writes an object, and gives the file."""

  def write(root, storages=()):
    path = tmp_path / "file.pth"
    path.write_bytes(request.param(root, storages))
    return path

  return write


def test_nothing_is_executed(written, tmp_path):
  trace = tmp_path / "trace"
  for call in (
    Call(os.system, f"touch {trace}"),
    Call(eval, f"open({str(trace)!r}, 'w')"),
    Call(getattr, "", "join"),
    OrderedDict(inside=[Call(os.mkdir, str(trace))]),
  ):
    path = written({"x": call})
    with pytest.raises(
      UserError, match=r"refused '(posix|nt|builtins|__builtin__)\..*state_dict"
    ):
      reading.read(path)
    # A module's classes are kept as names, and not called either.
    with pytest.raises(UserError, match="tensors only"):
      reading.read_module(path)
  assert not trace.exists()


@pytest.mark.parametrize(
  "opcodes",
  [
    b"(S'true'\niposix\nsystem\n.",
    b"(cposix\nsystem\nS'true'\no.",
    b"cposix\nsystem\n\x85R.",
    b"\x82\x01.",
    b"\x8ccposix\nsystem.",
    b"N\x85R.",
    b"NN\x85R.",
    b"}Nb.",
    b"]Nb.",
    b"X\x01\x00\x00\x00aNb.",
    b"NNQ.",
    b"}(]NNu.",
    b"}]Ns.",
    b"NNa.",
    b"0.",
    b".",
    b"h\x00.",
    b"(.",
    b"1.",
    b"}(Nu.",
    b"r\xff\xff\xff\x7f.",
    b"\x96" + b"\xff" * 7 + b"\x0f.",
    b"\x8d" + b"\xff" * 7 + b"\x0f.",
    b"\x8b\xff\xff\xff\x7f.",
  ],
)
def test_opcodes_that_no_data_need(tmp_path, opcodes):
  path = tmp_path / "file.pth"
  # It stands for the magic number; nothing after it is read.
  path.write_bytes(b"\x80\x02" + opcodes + bytes(20))
  for read in reading.read, reading.read_module:
    with pytest.raises(UserError, match=r"cannot read .*file\.pth"):
      read(path)


def test_endless_pickles_end(tmp_path, monkeypatch):
  monkeypatch.setattr("protojax.weights.pickled._MOST_BYTES", 100_000)
  path = tmp_path / "file.pth"
  path.write_bytes(b"\x80\x02" + b"]" * 2000 + b".")
  with pytest.raises(UserError, match="its pickle would take more than 0 MB"):
    reading.read(path)


def test_nested_keys_are_not_hashed(tmp_path):
  deep = b"}" + b")" + b"\x85" * 20_000 + b"Ns."
  path = tmp_path / "file.pth"
  path.write_bytes(b"\x80\x02" + deep)
  with pytest.raises(UserError, match="refused a tuple as a key"):
    reading.read(path)


def test_strange_storages_are_named(written, torch):
  strange = Tensor(Storage("1", torch.QInt8Storage, 1), 0, (1,), (1,))
  with pytest.raises(UserError, match=r"refused 'torch\.QInt8Storage'"):
    reading.read(written({"x": strange}))


@pytest.mark.parametrize(
  "place",
  [
    (9, (2,), (1,)),
    (0, (2,), (-1,)),
    (-1, (1,), (1,)),
    (0, (9,), (2,)),
    (0, (2**40,), (0,)),
    (0, (2, 2), (1,)),
    (0, (2.0,), (1,)),
    (0, ("2",), (1,)),
  ],
)
def test_no_tensor_reaches_outside_its_storage(written, torch, place):
  tensor = Tensor(Storage("1", torch.FloatStorage, 10), *place)
  path = written({"x": tensor}, [("1", np.zeros(10, "<f4"))])
  with pytest.raises(UserError, match="damaged"):
    reading.read(path)


@pytest.mark.parametrize("elements", [11, 9, -1, 2**61, None, "10"])
def test_lies_about_the_length_of_a_storage(written, torch, elements):
  tensor = Tensor(Storage("1", torch.FloatStorage, elements), 0, (1,), (1,))
  path = written({"x": tensor}, [("1", np.zeros(10, "<f4"))])
  with pytest.raises(UserError, match="cannot read"):
    reading.read(path)


def test_other_protocols_of_pickle(tmp_path, torch):
  path = tmp_path / "file.pth"
  for protocol in 2, 3, 4, 5:
    items = [foreign_files.MAGIC, 1001, {"little_endian": True}, {"a": "b"}, []]
    path.write_bytes(b"".join(pickle.dumps(item, protocol) for item in items))
    with pytest.raises(UserError, match=r"tensors only.*: a$"):
      reading.read(path)


def _module(name, parameters=(), modules=(), **attributes):
  """An object with the attributes of a PyTorch module."""
  made = foreign_files.stand_in(name)()
  made._parameters = OrderedDict(parameters)
  made._buffers = OrderedDict()
  made._modules = OrderedDict(modules)
  made._hooks = foreign_files.stand_in("torch.Hooks")()
  made.__dict__.update(attributes)
  return made


def test_a_module_is_read_by_name(written, tmp_path):
  trace = tmp_path / "trace"
  (weight, one), (plain, other) = (
    foreign_files.tensor(np.full(2, x, "f4"), str(x)) for x in (1, 2)
  )
  layer = _module("torch.nn.Linear", {"weight": weight, "bias": None})
  net = _module(
    "model.Net",
    modules={"layer": layer, "none": None},
    identity=plain,
    size=3,
    shape=(1, 2),
    seen={1, 2},
    evil=Call(os.system, f"touch {trace}"),
  )
  found = reading.read_module(written(net, [one, other]))
  assert found.kinds == {"": "model.Net", "layer": "torch.nn.Linear"}
  assert found.attributes == {"size": 3, "shape": (1, 2), "seen": [1, 2]}
  assert set(found.tensors) == {"layer.weight", "identity"}
  np.testing.assert_array_equal(found.tensors["identity"], [2, 2])
  assert not trace.exists()


def test_a_module_inside_of_itself_ends(written, monkeypatch):
  monkeypatch.setattr("protojax.weights.pytorch._MOST_MODULES", 100)
  net = _module("model.Net")
  net._modules["again"] = net
  with pytest.raises(UserError, match="more than 100 modules"):
    reading.read_module(written(net))


def test_a_class_kept_with_its_source(tmp_path, torch):
  """The old format: persistent ids name the classes of modules."""

  class Writer(pickle.Pickler):
    named = False

    def persistent_id(self, obj):
      if getattr(obj, "__name__", "") == "Net" and not self.named:
        self.named = True
        return "module", obj, "model.py", "import os"

  net = _module("model.Net", size=3)
  path = tmp_path / "file.pth"
  with path.open("wb") as file:
    for item in foreign_files.MAGIC, 1001, {"little_endian": True}:
      pickle.dump(item, file, protocol=2)
    Writer(file, protocol=2).dump(net)
    pickle.dump([], file, protocol=2)
  assert reading.read_module(path).attributes == {"size": 3}
  with pytest.raises(UserError, match="tensors by name"):
    reading.read(path)


def test_objects_around_a_clean_state_dict_are_never_built(written, tmp_path):
  trace = tmp_path / "trace"
  state, storages = foreign_files.state_dict({"net.x": np.ones(2, "f4")})
  path = written(
    {
      "args": argparse.Namespace(lr=0.1, evil=Call(os.mkdir, str(trace))),
      "best": np.float64(0.5),
      "counts": collections.Counter("aab"),
      "by_class": collections.defaultdict(list, a=[1]),
      "path": pathlib.PurePosixPath("a/b"),
      "when": datetime.date(2026, 11, 29),
      "seen": {1, 2},
      "state_dict": state,
    },
    storages,
  )
  np.testing.assert_array_equal(reading.read(path)["net.x"], [1, 1])
  found = reading.read_module(path)
  assert not found.kinds
  np.testing.assert_array_equal(found.tensors["x"], [1, 1])
  assert not trace.exists()
  dirty = {"state_dict": {**state, "args": argparse.Namespace(lr=0.1)}}
  with pytest.raises(
    UserError, match=r"refused 'argparse\.Namespace', which is never.*: args$"
  ):
    reading.read(written(dirty, storages))


@pytest.mark.parametrize("inner", ["module", "_orig_mod"])
def test_a_module_in_its_wrapper(written, inner):
  weight, storage = foreign_files.tensor(np.ones(2, "f4"), "1")
  net = _module("model.Net", {"weight": weight}, size=3)
  outer = _module("torch.Wrapper", modules={inner: net}, dim=0)
  found = reading.read_module(written(outer, [storage]))
  assert found.kinds == {"": "model.Net"}
  assert found.attributes == {"size": 3}
  assert set(found.tensors) == {"weight"}
