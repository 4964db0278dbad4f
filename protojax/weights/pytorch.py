"""Reads files of torch.save, in the zip format and in the one before it.

A file holds a pickle and storages of raw bytes; objects in the pickle refer to
the storages. Tensors and plain containers are read. An object of another class
is never built: it is kept as the name of its class with attributes.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import io
import itertools
import math
import mmap
from typing import Any

import jax.numpy as jnp
import numpy as np

from protojax.shown import shown
from protojax.types import UserError
from protojax.weights import pickled
from protojax.weights.pickled import Maker

# Key -> bytes.
Storages = dict[str, memoryview]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_MODULES = 10_000
_MOST_ENTRIES = 100_000  # tensors and attributes of all modules
_LONGEST_NAME = 1000
_MOST_AXES = 64  # of an array of NumPy
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


def read_legacy(data: mmap.mmap) -> Any:
  """Content of a file from before PyTorch 1.6: pickles, then raw storages.

  Objects of other classes are kept as names with attributes (`pickled.Object`).

  Args:
    data: the whole file.

  Raises:
    UserError: the file holds something that is refused.
    Exception: of any kind, for damaged bytes.
  """
  storages, used = Storages(), {}
  # Magic number, protocol, system, objects, keys of the storages.
  load = functools.partial(
    pickled.load,
    data,
    functools.partial(_find, storages),
    functools.partial(_persistent, used),
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


def read_zip(members: Mapping[str, memoryview]) -> Any:
  """Content of a file since PyTorch 1.6: a zip archive, a file a storage.

  Args:
    members: name -> bytes of each file: `zipped.members`.

  Raises:
    UserError: the file holds something that is refused.
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
    functools.partial(_find, storages),
    functools.partial(_persistent, {}),
  )


@dataclasses.dataclass(frozen=True)
class Module:
  """A module as a file describes it, under the dotted names of a state dict.

  Attributes:
    kinds: name of a module -> its class, such as
      "torch.nn.modules.conv.Conv2d"; the outermost module has the name "".
      Empty for a state dict.
    tensors: parameters, buffers, and other attributes that are tensors.
    attributes: numbers, text, and sequences of them. For a state dict: what the
      checkpoint holds beside it, with what is inside of objects there, such as
      "epoch" and "args.lr".
    beside: tensors that the checkpoint holds beside a state dict.
  """

  kinds: dict[str, str]
  tensors: dict[str, np.ndarray]
  attributes: dict[str, Any]
  beside: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def tensors(root: Any, wrappers: Sequence[str]) -> dict[str, np.ndarray]:
  """The tensors of a state dict by name, as views of the file.

  A tensor that was saved alone has the name "".

  Args:
    root: content of a file.
    wrappers: keys; the state dict may lie under one of them.

  Raises:
    UserError: the state dict holds anything but tensors.
  """
  state = _unwrapped(root, wrappers)
  if isinstance(state, Tensor):
    return {"": state.array()}
  if not isinstance(state, dict):
    raise UserError("it should hold tensors by name (a state dict)")
  strange = {k: v for k, v in state.items() if not isinstance(v, Tensor)}
  if strange:
    kind = _foreign([*strange.values()])
    refused = f"; refused {shown(kind)}, which is never built" if kind else ""
    names = ", ".join(f"{name!s:.100}" for name in list(strange)[:10])
    raise UserError(
      f"it should hold tensors only{refused}. Save it again as"
      f" torch.save(model.state_dict(), FILE); no tensors are: {names:.500}"
    )
  return {str(name): tensor.array() for name, tensor in state.items()}


def _foreign(values: list[Any]) -> str | None:
  """The class of an object among some values, or inside of them."""
  for seen, value in enumerate(values):
    if isinstance(value, pickled.Object):
      return value.kind
    if seen < _MOST_AXES and isinstance(value, list | tuple | dict):
      inner = value.values() if isinstance(value, dict) else value
      values.extend(itertools.islice(inner, _MOST_AXES))
  return None


def module(root: Any, wrappers: Sequence[str]) -> Module:
  """The module in a file, which was saved whole or as a state dict.

  Args:
    root: content of the file.
    wrappers: as in `tensors`.

  Raises:
    UserError: the file holds neither.
  """
  whole, root = root, _unwrapped(root, wrappers)
  if not isinstance(root, pickled.Object):
    beside = _beside(whole, root)
    found = tensors(root, ())
    return Module({}, found, beside.attributes, beside.tensors)
  found = Module({}, {}, {})
  left = [("", _inside(root))]
  entries = 0
  while left:
    prefix, one = left.pop()
    found.kinds[prefix.removesuffix(".")] = one.kind
    inner = one.state.get("_modules", {})
    groups = [
      {k: x for k, x in one.state.items() if k not in _GROUPS},
      one.state.get("_parameters", {}),
      one.state.get("_buffers", {}),
    ]
    # A module may hold another twice, and a bad file may nest it in itself.
    if len(found.kinds) + len(left) + len(inner) > _MOST_MODULES:
      raise UserError(f"it has more than {_MOST_MODULES} modules")
    entries += sum(map(len, groups))
    if entries > _MOST_ENTRIES:
      raise UserError(f"its modules have more than {_MOST_ENTRIES} attributes")
    for group in groups:
      _take(found, prefix, group)
    modules = [(_dotted(prefix, key) + ".", m) for key, m in inner.items() if m]
    left += reversed(modules)
  return found


def _beside(whole: Any, state: Any) -> Module:
  """Values and tensors in the checkpoint of a training script, by dotted names.

  Args:
    whole: content of the file.
    state: the state dict in it, which is left out.
  """
  found = Module({}, {}, {})
  if not isinstance(whole, dict) or whole is state:
    return found
  for name, value in whole.items():
    inner = value.state if isinstance(value, pickled.Object) else value
    if inner is state:
      continue
    if isinstance(inner, dict) and len(inner) <= _MOST_ENTRIES:
      _take(found, _dotted("", name) + ".", inner)
    else:
      _take(found, "", {name: inner})
  return found


def _inside(module: pickled.Object) -> pickled.Object:
  """The model in the modules of DataParallel and torch.compile."""
  for _ in range(_MOST_AXES):
    inner = (module.state or {}).get("_modules", {})
    if len(inner) != 1 or not inner.keys() <= _WRAPPED:
      break
    module = next(iter(inner.values()))
  return module


_WRAPPED = {"module", "_orig_mod"}

# Attributes of a module that hold others by name.
_GROUPS = ("_parameters", "_buffers", "_modules")


def _dotted(prefix: str, name: str) -> str:
  if len(prefix) + len(str(name)) > _LONGEST_NAME:
    raise UserError(
      f"the name {prefix + str(name):.80}... has more than {_LONGEST_NAME}"
      " characters"
    )
  return f"{prefix}{name}"


def _take(found: Module, prefix: str, values: dict[str, Any]) -> None:
  """Adds tensors and plain attributes to `found`; drops the others."""
  for name, value in values.items():
    items = value if isinstance(value, list | tuple) else (value,)
    if isinstance(value, Tensor):
      found.tensors[_dotted(prefix, name)] = value.array()
    elif len(items) <= _MOST_AXES and all(
      isinstance(item, str | int | float) for item in items
    ):
      found.attributes[_dotted(prefix, name)] = value


def _unwrapped(root: Any, wrappers: Sequence[str]) -> Any:
  """The model in the checkpoint of a training script."""
  if isinstance(root, dict):
    for key in wrappers:
      if isinstance(root.get(key), dict | pickled.Object):
        return root[key]
  return root


def _find(storages: Storages, name: str) -> Any:
  """The meaning of a name in a pickle."""
  if name in _DTYPES:
    return np.dtype(_DTYPES[name])
  if name in (
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor",
  ):
    return Maker(functools.partial(_tensor, storages), name)
  make = _MAKERS.get(name, lambda *arguments: pickled.Object(name))
  return Maker(make, name)


def _tensor(storages, storage, offset, size, stride, *_) -> Tensor:
  if not isinstance(storage, Storage):
    raise UserError("refused a tensor without a storage")
  if max(len(size), len(stride)) > _MOST_AXES:
    raise UserError(f"refused a tensor of more than {_MOST_AXES} axes")
  return Tensor(storages, storage, offset, tuple(size), tuple(stride))


# After the tensor come requires_grad and hooks, which are dropped.
_MAKERS = {
  "collections.OrderedDict": lambda pairs=(): pickled.keyed(pairs),
  "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
  "torch.Size": tuple,
  # A list will do: nobody tests membership, and nothing has to be hashed.
  "builtins.set": list,
  "__builtin__.set": list,
}


def _persistent(used: dict[str, Storage], identity: tuple) -> Storage | Maker:
  """A storage; in the old format also the class of a module, with its code."""
  kind, what, *rest = identity
  if kind == "module":
    return what
  if kind != "storage":
    raise UserError(
      f"refused a persistent {shown(kind)}: only storages are read"
    )
  if not isinstance(what, np.dtype):
    name = what.name if isinstance(what, Maker) else what
    raise UserError(f"refused {shown(name)}: no type of numbers that is known")
  key, _, elements = rest[:3]
  # In the old format, a view of a storage may follow.
  if not isinstance(key, str) or any(item is not None for item in rest[3:]):
    raise UserError("refused a storage that is a view of another")
  if type(elements) is not int:
    raise UserError(f"refused a storage of {shown(elements)} elements")
  used[key] = Storage(key, what, elements)
  return used[key]
