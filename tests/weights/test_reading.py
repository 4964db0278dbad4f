"""Files of weights: known by their content, converted by their names."""

import hashlib
import io
import json
from pathlib import Path
import sys
import types
import zipfile

import numpy as np
import pytest

from protojax.types import UserError
from protojax.weights import reading
from tests.weights import foreign_files

_ARRAYS = {
  "plain": np.arange(6, dtype="f4").reshape(2, 3),
  "halves": np.array([0.5, -2.0], "f2"),
  "empty": np.zeros((0, 3), "f4"),
  "count": np.array(5),
  # A reader takes no name as a path or as markup.
  "../'\"<b>\u00fc": np.full((1, 1, 2, 2), 3, "f4"),
}
_FORMATS = ("legacy", "zip", "safetensors", "npz")


@pytest.fixture(params=_FORMATS)
def file(tmp_path, torch, request):
  """The arrays in one format, in a file without a suffix: none is needed."""
  path = tmp_path / "weights.bin"
  path.write_bytes(foreign_files.all_formats(_ARRAYS)[request.param])
  return path


def test_every_format_gives_the_arrays(file):
  got = reading.read(file, hashlib.sha256(file.read_bytes()).hexdigest())
  assert set(got) == set(_ARRAYS)
  for name, array in _ARRAYS.items():
    assert got[name].dtype == array.dtype
    np.testing.assert_array_equal(got[name], array)


def test_another_file_is_refused(file):
  with pytest.raises(UserError, match=r"sha256 .* expected 00"):
    reading.read(file, "00")


def test_every_cut_is_noticed(file):
  whole = file.read_bytes()
  for length in range(0, len(whole), 17):
    file.write_bytes(whole[:length])
    with pytest.raises(UserError, match=r"cannot read .*weights\.bin"):
      reading.read(file)


def test_views_of_one_storage(tmp_path, torch):
  floats = foreign_files.Storage("7", torch.FloatStorage, 10)
  state = {
    "offset": foreign_files.Tensor(floats, 4, (2, 3), (3, 1)),
    "permuted": foreign_files.Tensor(floats, 4, (2, 3), (1, 2)),
  }
  path = tmp_path / "views.pth"
  for write in foreign_files.legacy, foreign_files.zipped:
    path.write_bytes(write(state, [("7", np.arange(10, dtype="f4"))]))
    got = reading.read(path)
    np.testing.assert_array_equal(got["offset"], [[4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(got["permuted"], [[4, 6, 8], [5, 7, 9]])


def test_bfloat16(tmp_path, torch):
  # The bits of a bfloat16 are the upper half of a float32.
  bits = (np.array([1.5, -2.0, 3e38], "f4").view("u4") >> 16).astype("u2")
  path = tmp_path / "half"
  path.write_bytes(foreign_files.safetensors({"x": bits}, {"<u2": "BF16"}))
  storage = foreign_files.Storage("0", torch.BFloat16Storage, 3)
  tensor = foreign_files.Tensor(storage, 0, (3,), (1,))
  other = tmp_path / "other"
  other.write_bytes(foreign_files.zipped({"x": tensor}, [("0", bits)]))
  for file in path, other:
    got = reading.read(file)["x"].astype(np.float32)
    np.testing.assert_allclose(got, [1.5, -2.0, 3e38], rtol=0.01)


def test_a_training_script_puts_more_around_the_model(tmp_path, torch):
  state, storages = foreign_files.state_dict({"x": np.ones(2, "f4")})
  path = tmp_path / "epoch.pth"
  for key in "state_dict", "model_state_dict", "model":
    saved = {"epoch": 3, "best": 0.5, "name": "run", key: state, "more": [1]}
    path.write_bytes(foreign_files.zipped(saved, storages))
    np.testing.assert_array_equal(reading.read(path)["x"], [1, 1])
  path.write_bytes(foreign_files.zipped({"epoch": 3, **state}, storages))
  with pytest.raises(UserError, match=r"tensors only.*: epoch$"):
    reading.read(path)
  path.write_bytes(foreign_files.legacy([3]))
  with pytest.raises(UserError, match="tensors by name"):
    reading.read(path)


def test_other_files_are_named_for_what_they_are(tmp_path):
  path = tmp_path / "weights.pth"
  with pytest.raises(UserError, match="no such file"):
    reading.read(path)
  with pytest.raises(UserError, match="is a folder"):
    reading.read(tmp_path)
  for content, message in (
    (b"", "empty"),
    (b"<!DOCTYPE html><html>", r"neither .* begins with b'<!DOCTYPE"),
    (b"version https://git-lfs", "begins with b'version https:"),
    (b"\x80\x02K\x03.\x80\x02K\x04.", "none of PyTorch's"),
    (b"PK\x03\x04rest", "cut short or damaged"),
  ):
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
      reading.read(path)


def test_what_is_packed_is_refused(tmp_path, torch):
  path = tmp_path / "weights"
  np.savez_compressed(path, x=np.zeros(10**6))
  with pytest.raises(UserError, match=r"'x\.npy' in it is compressed"):
    reading.read(f"{path}.npz")
  bomb = foreign_files.zipped({}, compression=zipfile.ZIP_DEFLATED)
  path.write_bytes(bomb)
  with pytest.raises(UserError, match="compressed"):
    reading.read(path)


def test_arrays_of_objects_are_refused(tmp_path):
  path = tmp_path / "weights.npz"
  for strange in np.array([{}]), np.array(["text"]), np.zeros(1, "c8"):
    np.savez(path, x=strange)
    with pytest.raises(UserError, match=r"'x\.npy' holds .* numbers only"):
      reading.read(path)


def test_one_wrong_bit_is_noticed_in_zips(tmp_path, torch):
  arrays = {"x": np.full(64, 1.25, "f4")}
  path = tmp_path / "damaged"
  for whole in (
    foreign_files.zipped(*foreign_files.state_dict(arrays)),
    foreign_files.npz(arrays),
  ):
    place = whole.index(arrays["x"].tobytes()) + 30
    path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(UserError, match="another checksum"):
      reading.read(path)


@pytest.mark.parametrize(
  ("header", "message"),
  [
    ({"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}, "unknown type"),
    ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, "its place"),
    ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}, "has shape"),
    ({"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}, "damaged"),
    ({"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "its place"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "of no tensor"),
    ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "of no tensor"),
    ({"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}, "has shape"),
    ({"dtype": "F32", "shape": [2], "data_offsets": [False, 8]}, "has shape"),
    (
      {"dtype": "F32", "shape": [2, *[1] * 64], "data_offsets": [0, 8]},
      "shape",
    ),
    ({"dtype": "F32", "shape": [2**62], "data_offsets": [0, 8]}, "its place"),
    ({"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}, "its place"),
    ({"shape": [2], "data_offsets": [0, 8]}, "damaged"),
    ([], "damaged"),
  ],
)
def test_lies_of_a_safetensors_header(tmp_path, header, message):
  text = json.dumps({"x": header}).encode()
  path = tmp_path / "lie.safetensors"
  path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
  with pytest.raises(UserError, match=message):
    reading.read(path)


def test_a_longer_array_than_the_archive_has(tmp_path):
  file = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    file, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
  )
  path = tmp_path / "long.npz"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x.npy", file.getvalue() + bytes(8))
  with pytest.raises(UserError, match="another length"):
    reading.read(path)


def test_missing_package_names_the_extra():
  with pytest.raises(UserError, match=r"pip install -e '\.\[demo\]'"):
    reading.locate("no_such_package", "file.pth", extra="demo")


def test_a_path_is_fetched_from_nowhere():
  assert reading.fetch("folder/hf:x.pth") == Path("folder/hf:x.pth")


def test_names_on_the_hub(monkeypatch):
  def download(repository, file):
    if repository == "o/absent":
      raise OSError("no such\nrepository")
    return f"/cache/{repository}/{file}"

  hub = types.SimpleNamespace(hf_hub_download=download)
  monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
  for address, path in (
    ("hf:o/n", "/cache/o/n/model.safetensors"),
    ("hf:o/n/a/b.bin", "/cache/o/n/a/b.bin"),
  ):
    assert reading.fetch(address) == Path(path)
  with pytest.raises(
    UserError, match=r"cannot fetch model.safetensors of o/absent: .* no such"
  ):
    reading.fetch("hf:o/absent")
  for wrong in "hf:", "hf:n", "hf:/n", "hf:o/":
    with pytest.raises(UserError, match="should be hf:owner/name"):
      reading.fetch(wrong)


def test_without_the_hub_its_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  with pytest.raises(UserError, match=r"pip install -e '\.\[hf\]'"):
    reading.fetch("hf:timm/resnet50.a1_in1k")


def test_convert():
  template = {"params": {"conv": {"kernel": np.zeros((3, 3, 2, 4), "f4")}}}
  kernel = np.arange(72, dtype="f8").reshape(4, 2, 3, 3)
  tree = reading.convert({"conv": kernel}, template, lambda path: path[1])
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
    reading.convert(tensors, template, lambda path: path[1], ignore=("fc.",))
  assert str(error.value) == (
    "the weights do not fit: b has shape (3,) where params/b/x has (2,); "
    "missing c for params/c/x; superfluous d"
  )


def test_convert_makes_nothing_of_a_wrong_shape():
  # One number, repeated without limit.
  endless = np.broadcast_to(np.float32(1), (10**6, 10**6))
  template = {"params": {"x": np.zeros(2, "f4")}}
  with pytest.raises(UserError, match=r"x has shape \(1000000, 1000000\)"):
    reading.convert({"x": endless}, template, lambda path: path[1])


def test_of_another_architecture_the_beginning_is_listed():
  template = {"params": {f"a{i}": np.zeros(1, "f4") for i in range(30)}}
  with pytest.raises(UserError, match=r"missing a19 .*; and 10 more$"):
    reading.convert({}, template, lambda path: path[1])
