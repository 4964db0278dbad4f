"""Reads what torch.save writes, the zip format and the one before it.

Both hold a pickle of objects that refer to storages, which lie beside it as
raw bytes. Tensors and plain containers are read; the rest is refused by name,
or, where a whole module is expected, kept as a name with attributes.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import io
import math
import mmap
from typing import Any

import jax.numpy as jnp
import numpy as np

from protojax.types import UserError
from protojax.weights import pickled
from protojax.weights.pickled import Maker

# Key -> bytes.
Storages = dict[str, memoryview]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_MODULES = 10_000
_DTYPES = {
  "torch.DoubleStorage": "<f8",
  "torch.FloatStorage": "<f4",
  "torch.HalfStorage": "<f2",
  "torch.BFloat16Storage": jnp.bfloat16,
  "torch.LongStorage": "<i8",
  "torch.IntStorage": "<i4",
  "torch.ShortStorage": "<i2",
  "torch.CharStorage": "i1",
  "torch.ByteStorage": "u1",
  "torch.BoolStorage": "?",
}


@dataclasses.dataclass(frozen=True)
class Storage:
  """A stretch of numbers that tensors are views of.

  Attributes:
    key: its name among the file's storages.
    dtype: of its elements.
    elements: how many there are.
  """

  key: str
  dtype: np.dtype
  elements: int


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor as the pickle describes it; its numbers may follow the pickle.

  Attributes:
    storages: of the file.
    storage: the one it is a view of.
    offset: its first element there.
    size: its shape.
    stride: elements from one index to the next, on each axis.
  """

  storages: Storages
  storage: Storage
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]

  def array(self) -> np.ndarray:
    """Its numbers, as a view of the file.

    Raises:
      UserError: it reaches outside of its storage.
    """
    dtype, elements = self.storage.dtype, self.storage.elements
    content = self.storages[self.storage.key]
    if len(content) != elements * dtype.itemsize:
      raise UserError(
        f"it is cut short or damaged: storage {self.storage.key!r:.80} has"
        " another length"
      )
    steps = zip(self.size, self.stride, strict=True)
    last = self.offset + sum((n - 1) * step for n, step in steps)
    count = math.prod(self.size)
    # A step of 0 would make a tensor of any size from one number.
    outside = count > elements or (count and last >= elements)
    if outside or min(self.offset, *self.size, *self.stride, 0) < 0:
      raise UserError("it is damaged: a tensor reaches outside its storage")
    if not count:
      return np.zeros(self.size, dtype)
    return np.lib.stride_tricks.as_strided(
      np.frombuffer(content, dtype)[self.offset :],
      self.size,
      [step * dtype.itemsize for step in self.stride],
    )


def read_legacy(data: mmap.mmap, objects: bool = False) -> Any:
  """What was saved before PyTorch 1.6: pickles, then the raw storages.

  Args:
    data: the whole file.
    objects: keep objects of any class as names with attributes
      (`pickled.Object`).

  Raises:
    UserError: the file holds what is not read.
    Exception: of any kind, for damaged bytes.
  """
  storages, used = Storages(), {}
  # Magic number, protocol, system, objects, keys of the storages.
  load = functools.partial(
    pickled.load,
    data,
    functools.partial(_find, storages, objects),
    functools.partial(_persistent, used, objects),
  )
  if (load(), load()) != (_MAGIC, _PROTOCOL):
    raise UserError("it is a pickle, but none of PyTorch's")
  if not load()["little_endian"]:
    raise UserError("it was written on a big-endian machine")
  root, keys = load(), load()
  for key in keys:
    elements = int.from_bytes(data.read(8), "little")
    start, length = data.tell(), elements * used[key].dtype.itemsize
    if start + length > len(data):
      raise UserError("it is cut short: a storage ends too early")
    storages[key] = memoryview(data)[start : start + length]
    data.seek(start + length)
  return root


def read_zip(members: Mapping[str, memoryview], objects: bool = False) -> Any:
  """What PyTorch saves since 1.6: a zip archive with a file per storage.

  Args:
    members: of the archive: `zipped.members`.
    objects: as in `read_legacy`.

  Raises:
    UserError: the file holds what is not read.
    Exception: of any kind, for damaged bytes.
  """
  pickle = next((n for n in members if n.endswith("data.pkl")), None)
  if pickle is None:
    raise UserError("it is a zip archive, but neither PyTorch's nor NumPy's")
  folder = pickle.removesuffix("data.pkl")
  if bytes(members.get(f"{folder}byteorder", b"little")) != b"little":
    raise UserError("it was written on a big-endian machine")
  prefix = f"{folder}data/"
  storages = {
    name.removeprefix(prefix): content
    for name, content in members.items()
    if name.startswith(prefix)
  }
  return pickled.load(
    io.BytesIO(members[pickle]),
    functools.partial(_find, storages, objects),
    functools.partial(_persistent, {}, objects),
  )


@dataclasses.dataclass(frozen=True)
class Module:
  """A module as its file describes it, by dotted names as in a state dict.

  Attributes:
    kinds: the class of each module, such as "torch.nn.modules.conv.Conv2d";
      the whole has the name "". Empty for a state dict.
    tensors: parameters, buffers, and other attributes that are tensors.
    attributes: those that are numbers, text, or sequences of them.
  """

  kinds: dict[str, str]
  tensors: dict[str, np.ndarray]
  attributes: dict[str, Any]


def tensors(root: Any, wrappers: Sequence[str]) -> dict[str, np.ndarray]:
  """The tensors of a state dict by name, as views of the file.

  Args:
    root: what a file holds.
    wrappers: keys under one of which the state dict may be.

  Raises:
    UserError: it holds anything but tensors.
  """
  state = _unwrapped(root, wrappers)
  if not isinstance(state, dict):
    raise UserError("it should hold tensors by name (a state dict)")
  strange = [str(k) for k, v in state.items() if not isinstance(v, Tensor)]
  if strange:
    raise UserError(
      "it should hold tensors only, but these entries are none:"
      f" {', '.join(strange):.500}"
    )
  return {str(name): tensor.array() for name, tensor in state.items()}


def module(root: Any, wrappers: Sequence[str]) -> Module:
  """What a file says of a module: saved whole, or its state dict alone.

  Args:
    root: what the file holds, read with `objects`.
    wrappers: as in `tensors`.

  Raises:
    UserError: it is neither.
  """
  root = _unwrapped(root, wrappers)
  if not isinstance(root, pickled.Object):
    return Module({}, tensors(root, ()), {})
  found = Module({}, {}, {})
  left = [("", root)]
  while left:
    prefix, part = left.pop()
    # A module may hold one module twice, and this one even itself.
    if len(found.kinds) == _MOST_MODULES:
      raise UserError(f"it has more than {_MOST_MODULES} modules")
    found.kinds[prefix.removesuffix(".")] = part.kind
    for name, value in part.state.items():
      if name in ("_parameters", "_buffers"):
        _take(found, prefix, value)
      elif name == "_modules":
        inner = [(f"{prefix}{key}.", m) for key, m in value.items() if m]
        left += reversed(inner)
      else:
        _take(found, prefix, {name: value})
  return found


def _take(found: Module, prefix: str, values: dict[str, Any]) -> None:
  """Keeps what is a tensor or plain."""
  for name, value in values.items():
    parts = value if isinstance(value, list | tuple) else (value,)
    if isinstance(value, Tensor):
      found.tensors[prefix + name] = value.array()
    elif all(isinstance(part, str | int | float) for part in parts):
      found.attributes[prefix + name] = value


def _unwrapped(root: Any, wrappers: Sequence[str]) -> Any:
  """The part of a training script's checkpoint that is the model."""
  if isinstance(root, dict):
    for key in wrappers:
      if isinstance(root.get(key), dict | pickled.Object):
        return root[key]
  return root


def _find(storages: Storages, objects: bool, name: str) -> Any:
  """What a name in a pickle means."""
  if name in _DTYPES:
    return np.dtype(_DTYPES[name])
  if name in (
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor",
  ):
    return Maker(functools.partial(_tensor, storages))
  if name in _MAKERS:
    return _MAKERS[name]
  if objects:
    return Maker(lambda *arguments: pickled.Object(name))
  raise UserError(
    f"refused {name!r:.200}: only tensors and plain containers are read. Save"
    " it again as torch.save(model.state_dict(), FILE)"
  )


def _tensor(storages, storage, offset, size, stride, *_) -> Tensor:
  if not isinstance(storage, Storage):
    raise UserError("refused a tensor without a storage")
  return Tensor(storages, storage, offset, tuple(size), tuple(stride))


# Whether a gradient is wanted, and hooks, follow the tensor.
_MAKERS = {
  "collections.OrderedDict": Maker(lambda pairs=(): pickled.keyed(pairs)),
  "torch._utils._rebuild_parameter": Maker(lambda tensor, *_: tensor),
  "torch.Size": Maker(tuple),
  # Nobody asks whether something is in it, and nothing need be hashed.
  "builtins.set": Maker(list),
  "__builtin__.set": Maker(list),
}


def _persistent(
  used: dict[str, Storage], objects: bool, identity: tuple
) -> Storage | Maker:
  """A storage, or in the old format a module's class with its source."""
  kind, what, *rest = identity
  if kind == "module" and objects:
    return what
  if kind != "storage":
    raise UserError(
      f"refused a persistent {kind!r:.80}: only storages are read"
    )
  key, _, elements = rest[:3]
  # The old format may tell of a view here.
  if not isinstance(key, str) or any(part is not None for part in rest[3:]):
    raise UserError("refused a storage that is a part of another")
  used[key] = Storage(key, what, elements)
  return used[key]
