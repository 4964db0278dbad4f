"""Reads files of torch.save, in the zip format and in the one before it.

A file holds a pickle and storages of raw bytes; objects in the pickle refer to
the storages. Tensors and plain containers are read. Other objects are refused;
if a whole module is expected, they are kept as a name with attributes.
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
    elements: their number.
  """

  key: str
  dtype: np.dtype
  elements: int


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor as a pickle describes it; its numbers may follow the pickle.

  Attributes:
    storages: of the file.
    storage: the storage that the tensor is a view of.
    offset: of its first element in the storage.
    size: its shape.
    stride: elements from one index to the next, on each axis.
  """

  storages: Storages
  storage: Storage
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]

  def array(self) -> np.ndarray:
    """The numbers of the tensor, as a view of the file.

    Raises:
      UserError: the tensor reaches outside of its storage.
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
  """Content of a file from before PyTorch 1.6: pickles, then raw storages.

  Args:
    data: the whole file.
    objects: keep objects of any class as names with attributes
      (`pickled.Object`).

  Raises:
    UserError: the file holds an object that is refused.
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
  """Content of a file since PyTorch 1.6: a zip archive, a file a storage.

  Args:
    members: name -> bytes of each file: `zipped.members`.
    objects: as in `read_legacy`.

  Raises:
    UserError: the file holds an object that is refused.
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
  """A module as a file describes it, under the dotted names of a state dict.

  Attributes:
    kinds: name of a module -> its class, such as
      "torch.nn.modules.conv.Conv2d"; the outermost module has the name "".
      Empty for a state dict.
    tensors: parameters, buffers, and other attributes that are tensors.
    attributes: numbers, text, and sequences of them.
  """

  kinds: dict[str, str]
  tensors: dict[str, np.ndarray]
  attributes: dict[str, Any]


def tensors(root: Any, wrappers: Sequence[str]) -> dict[str, np.ndarray]:
  """The tensors of a state dict by name, as views of the file.

  Args:
    root: content of a file.
    wrappers: keys; the state dict may lie under one of them.

  Raises:
    UserError: the state dict holds anything but tensors.
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
  """The module in a file, which was saved whole or as a state dict.

  Args:
    root: content of the file, read with `objects`.
    wrappers: as in `tensors`.

  Raises:
    UserError: the file holds neither.
  """
  root = _unwrapped(root, wrappers)
  if not isinstance(root, pickled.Object):
    return Module({}, tensors(root, ()), {})
  found = Module({}, {}, {})
  left = [("", root)]
  while left:
    prefix, one = left.pop()
    # A module may hold another twice, and a bad file may nest it in itself.
    if len(found.kinds) == _MOST_MODULES:
      raise UserError(f"it has more than {_MOST_MODULES} modules")
    found.kinds[prefix.removesuffix(".")] = one.kind
    for name, value in one.state.items():
      if name in ("_parameters", "_buffers"):
        _take(found, prefix, value)
      elif name == "_modules":
        inner = [(f"{prefix}{key}.", m) for key, m in value.items() if m]
        left += reversed(inner)
      else:
        _take(found, prefix, {name: value})
  return found


def _take(found: Module, prefix: str, values: dict[str, Any]) -> None:
  """Adds tensors and plain attributes to `found`; drops the others."""
  for name, value in values.items():
    items = value if isinstance(value, list | tuple) else (value,)
    if isinstance(value, Tensor):
      found.tensors[prefix + name] = value.array()
    elif all(isinstance(item, str | int | float) for item in items):
      found.attributes[prefix + name] = value


def _unwrapped(root: Any, wrappers: Sequence[str]) -> Any:
  """The model in the checkpoint of a training script."""
  if isinstance(root, dict):
    for key in wrappers:
      if isinstance(root.get(key), dict | pickled.Object):
        return root[key]
  return root


def _find(storages: Storages, objects: bool, name: str) -> Any:
  """The meaning of a name in a pickle."""
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


# After the tensor come requires_grad and hooks, which are dropped.
_MAKERS = {
  "collections.OrderedDict": Maker(lambda pairs=(): pickled.keyed(pairs)),
  "torch._utils._rebuild_parameter": Maker(lambda tensor, *_: tensor),
  "torch.Size": Maker(tuple),
  # A list will do: nobody tests membership, and nothing has to be hashed.
  "builtins.set": Maker(list),
  "__builtin__.set": Maker(list),
}


def _persistent(
  used: dict[str, Storage], objects: bool, identity: tuple
) -> Storage | Maker:
  """A storage; in the old format also the class of a module, with its code."""
  kind, what, *rest = identity
  if kind == "module" and objects:
    return what
  if kind != "storage":
    raise UserError(
      f"refused a persistent {kind!r:.80}: only storages are read"
    )
  key, _, elements = rest[:3]
  # In the old format, a view of a storage may follow.
  if not isinstance(key, str) or any(item is not None for item in rest[3:]):
    raise UserError("refused a storage that is a view of another")
  used[key] = Storage(key, what, elements)
  return used[key]
