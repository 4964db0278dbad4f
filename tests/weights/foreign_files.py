"""Writes weights as PyTorch, safetensors and NumPy do, all by hand.

A pickle names classes, so some of PyTorch's are made known to Python within
`stand_ins`.
"""

from collections import OrderedDict
import contextlib
import io
import json
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
_KINDS = {"<f4": "Float", "<f8": "Double", "<f2": "Half", "<i8": "Long"}


@contextlib.contextmanager
def stand_ins():
  """A fake torch with the names that pickles use; afterwards the real one."""
  before = {
    name: module
    for name, module in sys.modules.items()
    if name.split(".")[0] == "torch"
  }
  for name in before:
    del sys.modules[name]
  for kind in "Float", "Double", "Half", "Long", "BFloat16", "QInt8":
    stand_in(f"torch.{kind}Storage")
  stand_in("torch._utils._rebuild_tensor_v2")
  yield sys.modules["torch"]
  for name, module in list(sys.modules.items()):
    if isinstance(module, _StandIn):
      del sys.modules[name]
  sys.modules.update(before)


class _StandIn(types.ModuleType):
  """A module that a pickle names."""


class Storage:
  """Stands for a storage: pickled as a persistent id."""

  def __init__(self, key, kind, elements):
    self.id = ("storage", kind, key, "cpu", elements)


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


class _Writer(pickle.Pickler):
  """Turns storages into persistent ids, of the length of a format."""

  view: tuple = ()

  def persistent_id(self, obj):
    return (*obj.id, *self.view) if isinstance(obj, Storage) else None


def stand_in(name):
  """A class, made known under a dotted name such as "model.PPNet"."""
  module, _, short = name.rpartition(".")
  holder = sys.modules.setdefault(module, _StandIn(module))
  if not hasattr(holder, short):
    setattr(holder, short, type(short, (), {"__module__": module}))
  return getattr(holder, short)


def tensor(array, key):
  """A tensor that fills a storage of its own, and the storage."""
  kind = getattr(sys.modules["torch"], f"{_KINDS[array.dtype.str]}Storage")
  stride = [step // array.itemsize for step in array.strides]
  made = Tensor(Storage(key, kind, array.size), 0, array.shape, tuple(stride))
  return made, (key, array.ravel())


def state_dict(arrays):
  """Arrays by name as tensors, and their storages."""
  made = {
    name: tensor(array, str(i))
    for i, (name, array) in enumerate(arrays.items())
  }
  tensors = OrderedDict((name, one) for name, (one, _) in made.items())
  return tensors, [storage for _, storage in made.values()]


def legacy(root, storages=()):
  """Bytes as torch.save wrote them before 1.6; storages are (key, array)."""
  file = io.BytesIO()
  for item in MAGIC, 1001, {"little_endian": True}:
    pickle.dump(item, file, protocol=2)
  writer = _Writer(file, protocol=2)
  writer.view = (None,)
  writer.dump(root)
  pickle.dump([key for key, _ in storages], file, protocol=2)
  for _, array in storages:
    file.write(struct.pack("<q", len(array)) + array.tobytes())
  return file.getvalue()


def zipped(root, storages=(), damage=bytes, compression=zipfile.ZIP_STORED):
  """Bytes as torch.save has written them since 1.6.

  `damage` is done to the pickle inside, before its checksum is made.
  """
  pickled, file = io.BytesIO(), io.BytesIO()
  _Writer(pickled, protocol=2).dump(root)
  with zipfile.ZipFile(file, "w", compression) as archive:
    archive.writestr("archive/data.pkl", damage(pickled.getvalue()))
    archive.writestr("archive/byteorder", "little")
    for key, array in storages:
      archive.writestr(f"archive/data/{key}", array.tobytes())
    archive.writestr("archive/version", "3\n")
  return file.getvalue()


def safetensors(arrays, kinds=None):
  """Bytes of the format; `kinds` are its words for types."""
  kinds = {"<f4": "F32", "<f2": "F16", "<i8": "I64", **(kinds or {})}
  header, content = {"__metadata__": {"format": "pt"}}, b""
  for name, array in arrays.items():
    end = len(content) + array.nbytes
    header[name] = {
      "dtype": kinds[array.dtype.str],
      "shape": list(array.shape),
      "data_offsets": [len(content), end],
    }
    content += array.tobytes()
  text = json.dumps(header).encode()
  return len(text).to_bytes(8, "little") + text + content


def npz(arrays):
  """Bytes of the format."""
  file = io.BytesIO()
  np.savez(file, **arrays)
  return file.getvalue()


def all_formats(arrays):
  """Name of a format -> bytes."""
  return {
    "legacy": legacy(*state_dict(arrays)),
    "zip": zipped(*state_dict(arrays)),
    "safetensors": safetensors(arrays),
    "npz": npz(arrays),
  }
