"""A thousand damaged files of weights end in arrays or in one clear line."""

from collections import OrderedDict
import functools
import os
import tracemalloc

import numpy as np
import pytest

from protojax.types import UserError
from protojax.weights import reading
from tests.weights import foreign_files

_EACH = 170
_MOST_BYTES = 20e6
# Wrong lengths, counts and indices.
_LIES = (b"\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, bytes(8), b"\x00\x10" * 2)
_ARRAYS = {
  "layer.weight": np.arange(8, dtype="f4").reshape(2, 2, 2),
  "layer.bias": np.ones(2, "f2"),
  "layer.num_batches_tracked": np.array(3),
}


def _mutated(content, rng):
  """The bytes with one to four random damages."""
  content = bytearray(content)
  for _ in range(rng.integers(1, 5)):
    place = int(rng.integers(len(content) + 1))
    match rng.integers(5):
      case 0:
        content[place : place + 1] = rng.bytes(1)
      case 1:
        lie = _LIES[rng.integers(len(_LIES))]
        content[place : place + len(lie)] = lie
      case 2:
        del content[place : place + int(rng.integers(1, 9))]
      case 3:
        start = int(rng.integers(len(content) + 1))
        content[place:place] = content[start : start + 16]
      case 4 if rng.random() < 0.3:
        del content[place:]
  return bytes(content)


def _writer(kind):
  """Function (damage -> bytes of a file); damages bytes without a checksum."""
  if kind == "module":
    layer, net = map(foreign_files.stand_in, ("model.Layer", "model.Net"))
    layer, net = layer(), net()
    tensors, storages = foreign_files.state_dict(_ARRAYS)
    layer._parameters = OrderedDict(tensors)
    net._modules, net.size = OrderedDict(layer=layer), 7
    return functools.partial(foreign_files.zipped, net, storages)
  if kind == "zip's pickle":
    tensors, storages = foreign_files.state_dict(_ARRAYS)
    return functools.partial(foreign_files.zipped, tensors, storages)
  whole = foreign_files.all_formats(_ARRAYS)[kind]
  return lambda damage: damage(whole)


@pytest.mark.parametrize(
  "kind", ["legacy", "zip", "zip's pickle", "safetensors", "npz", "module"]
)
def test_damaged_files_end_in_arrays_or_in_a_line(tmp_path, torch, kind):
  write = _writer(kind)
  read = reading.read_module if kind == "module" else reading.read
  path = tmp_path / "file"
  rng = np.random.default_rng(len(kind))
  path.write_bytes(write(bytes))
  read(path)  # The whole file can be read; this also imports the readers.

  lines = []
  tracemalloc.start()
  for _ in range(_EACH):
    path.write_bytes(write(functools.partial(_mutated, rng=rng)))
    try:
      found = read(path)
    except UserError as error:
      lines.append(str(error))
    else:
      arrays = found.tensors if kind == "module" else found
      assert sum(x.size for x in arrays.values()) <= path.stat().st_size
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < _MOST_BYTES
  assert len(lines) > _EACH / 4
  for line in lines:
    assert line.startswith(f"cannot read {path}: ")
    assert len(line) < 1000


def test_damaged_calls_are_never_carried_out(tmp_path, torch):
  trace = tmp_path / "trace"
  calls = [
    foreign_files.Call(os.mkdir, str(trace)),
    foreign_files.Call(eval, f"__import__('os').mkdir({str(trace)!r})"),
    foreign_files.Call(exec, f"open({str(trace)!r}, 'w')"),
  ]
  rng = np.random.default_rng(0)
  path = tmp_path / "file"
  for _ in range(_EACH):
    damage = functools.partial(_mutated, rng=rng)
    path.write_bytes(foreign_files.zipped({"x": calls}, damage=damage))
    for read in reading.read, reading.read_module:
      with pytest.raises(UserError):
        read(path)
  assert not trace.exists()
