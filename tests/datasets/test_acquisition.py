"""Acquisitions of interferometers in a folder, and sheets of their devices."""

import json

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax.data import stream
from protojax.datasets import acquisition, device_sheet
from protojax.datasets import simulated_acquisition as simulated
from protojax.types import UserError


def config(root, **changes):
  return ConfigDict(
    {"name": "acquisition", "root": str(root), "sheet": "", "opd_step": 0.0}
    | changes
  )


def load(root, **changes):
  return acquisition.load(config(root, **changes), "test", 0)


@pytest.fixture
def folder(tmp_path):
  """Three interferometers and ten sources, without what is optional."""
  rng = np.random.default_rng(0)
  np.save(tmp_path / "data.npy", rng.uniform(1, 2, (3, 10)))
  np.save(tmp_path / "central_wavenumbers.npy", np.linspace(1, 2, 10))
  return tmp_path


def test_a_plain_folder(folder):
  found = load(folder)
  assert (len(found), found.shape, found.notes) == (3, (3,), ())
  assert np.isnan(found.nominal).all()
  one = found[1]
  np.testing.assert_array_equal(one["data"], one["mean"])
  np.testing.assert_array_equal(one["norm"], 1)
  assert one["name"] == "interferometer 1"


def test_all_files_and_a_batch_in_float64(folder):
  rng = np.random.default_rng(1)
  mean, norm = rng.uniform(1, 2, (3, 10)), rng.uniform(1, 2, 10)
  np.save(folder / "mean.npy", mean)
  np.save(folder / "norm.npy", norm)
  (folder / "options.json").write_text('{"opd_step": 0.2, "window": [5, 5]}')
  found = load(folder)
  np.testing.assert_allclose(found.nominal, [0, 0.2, 0.4])
  batch = next(stream.ordered(found, 0, 2, cache_bytes=0).batches())
  assert batch["data"].dtype == np.float64
  np.testing.assert_array_equal(batch["mean"], mean[:2])
  np.testing.assert_array_equal(batch["norm"], [norm, norm])
  np.testing.assert_allclose(load(folder, opd_step=0.5).nominal, [0, 0.5, 1])


def test_sources_out_of_order_are_sorted_and_repeated_ones_kept(folder):
  s, data = np.linspace(1, 2, 10), np.load(folder / "data.npy")
  s[4] = s[3]
  order = np.random.default_rng(2).permutation(10)
  np.save(folder / "central_wavenumbers.npy", s[order])
  np.save(folder / "data.npy", data[:, order])
  found = load(folder)
  np.testing.assert_array_equal(found.wavenumbers, s)
  sames = np.sort(data[0, 3:5])
  np.testing.assert_array_equal(np.sort(found[0]["data"][3:5]), sames)
  rest = [0, 1, 2, 5, 6, 7, 8, 9]
  np.testing.assert_array_equal(found[0]["data"][rest], data[0, rest])
  assert len(found.notes) == 2


def test_every_pixel_is_a_row_of_its_interferometer(folder):
  data = np.random.default_rng(3).uniform(1, 2, (2, 4, 3, 10))
  np.save(folder / "data.npy", data)
  np.save(folder / "norm.npy", data[0, 0])
  found = load(folder, opd_step=1.0)
  assert (len(found), found.shape) == (24, (2, 4, 3))
  assert found.name(17) == "pixel 1, 1, interferometer 2"
  np.testing.assert_array_equal(found[17]["data"], data[1, 1, 2])
  np.testing.assert_array_equal(found[17]["norm"], data[0, 0, 2])
  np.testing.assert_array_equal(
    found.nominal_of(np.array([0, 4, 17])), [0, 1, 2]
  )


@pytest.mark.parametrize(
  ("name", "array", "said"),
  [
    ("data", np.ones((3, 9)), r"shape \(3, 9\); expected \[interferometers 10"),
    ("data", np.ones(10), r"shape \(10,\); expected"),
    ("mean", np.ones((2, 10)), r"shape \(2, 10\); expected \(3, 10\)"),
    ("norm", np.ones(9), r"shape \(9,\); expected \(3, 10\), as data.npy, or"),
    ("data", np.full((3, 10), "x"), "holds <U1; expected real numbers"),
    ("data", np.full((3, 10), 1j), "holds complex128; expected real"),
    ("central_wavenumbers", np.ones(10), "are 1; expected different ones"),
    ("central_wavenumbers", np.arange(10), "expected 8 or more"),
    ("central_wavenumbers", np.linspace(1, 2, 5), "expected 8 or more"),
    ("central_wavenumbers", np.full(10, np.nan), "expected 8 or more"),
  ],
)
def test_arrays_that_do_not_fit_are_refused(folder, name, array, said):
  np.save(folder / f"{name}.npy", array)
  with pytest.raises(UserError, match=said):
    load(folder)


@pytest.mark.parametrize("ends", [(1000, 350), (3500, 28571)])
def test_wavelengths_in_nm_and_wavenumbers_in_1_cm_are_refused(folder, ends):
  path = folder / "central_wavenumbers.npy"
  np.save(path, np.linspace(*ends, 10))
  low, high = min(ends), max(ends)
  said = f"from {low} to {high}; expected wavenumbers in 1/um, 100 at most"
  with pytest.raises(UserError, match=f"{said}: of wavelengths in nm"):
    load(folder)
  # The way out, of nm.
  np.save(path, 1000 / np.linspace(1000, 350, 10))
  assert load(folder).wavenumbers[-1] == pytest.approx(1000 / 350)


def test_files_that_are_none(folder, tmp_path_factory):
  (folder / "mean.npy").write_bytes(b"no array")
  with pytest.raises(UserError, match=r"mean\.npy is not an array of NumPy"):
    load(folder)
  np.save(folder / "mean.npy", np.array([{"a": 1}]), allow_pickle=True)
  with pytest.raises(UserError, match=r"mean\.npy is not an array of NumPy"):
    load(folder)
  (folder / "mean.npy").unlink()
  (folder / "options.json").write_text('{"opd_step": "wide"}')
  with pytest.raises(UserError, match="opd_step"):
    load(folder)
  with pytest.raises(UserError, match=r"--config\.data\.root is empty: give"):
    load("")
  with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
    load(folder / "nowhere")
  with pytest.raises(UserError, match=r"choose one with --config.data.root="):
    load(folder.parent)
  empty = tmp_path_factory.mktemp("empty")
  with pytest.raises(UserError, match=r"has no data\.npy and no central"):
    load(empty)


def sheet(**changes):
  return {
    "thickness_minimum": 50,
    "thickness_step": 87.5,
    "subimage_arrangement": "vertical",
    "image_size": [9, 8],
    "subimage_size": [4, 3],
    "subimage_center": [2, 1],
    "subimage_amount": [2, 3],
    **changes,
  }


def test_a_sheet_gives_opds(folder):
  path = folder / "device.json"
  path.write_text(json.dumps(sheet()))
  found = load(folder, sheet=str(path))
  np.testing.assert_allclose(found.nominal, [0.1, 0.275, 0.45])
  path.write_text(json.dumps({"thickness_step": 1}))
  with pytest.raises(UserError, match="thickness_minimum"):
    load(folder, sheet=str(path))


def test_sub_images_in_the_order_of_the_sensor():
  """Worked by hand for two rows and three columns of sub-images."""
  vertical = device_sheet.centres(sheet())
  assert vertical.tolist() == [
    *([2, 7], [6, 7], [2, 4]),
    *([6, 4], [2, 1], [6, 1]),
  ]
  serpentine = device_sheet.centres(sheet(subimage_arrangement="horizontal"))
  assert serpentine.tolist() == [
    *([6, 1], [6, 4], [6, 7]),
    *([2, 7], [2, 4], [2, 1]),
  ]


def test_the_image_on_the_sensor_is_cut_at_its_edges():
  made = np.random.default_rng(0).uniform(1, 2, (4, 3, 6))
  image = device_sheet.mosaic(made, sheet())
  assert image.shape == (9, 8)
  # The last interferometer, upside down: rows count from the bottom.
  np.testing.assert_array_equal(image[4:8, 0:3], made[::-1, :, 5])
  # The first one's last column lies outside.
  np.testing.assert_array_equal(image[0:4, 6:8], made[::-1, :2, 0])
  assert (image[8] == 0).all()
  with pytest.raises(UserError, match="6 sub-images, the run 5"):
    device_sheet.mosaic(made[..., :5], sheet())
  with pytest.raises(UserError, match="5 by 3 pixels"):
    device_sheet.mosaic(np.ones((5, 3, 6)), sheet())


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    ({"image_size": [9]}, "image_size is .9.; expected two numbers above 0"),
    ({"subimage_amount": [0, 3]}, "subimage_amount is .0, 3."),
    ({"subimage_center": [1]}, "expected the row and the column"),
    ({"subimage_size": [1.5, 2]}, "subimage_size"),
  ],
)
def test_sheets_that_say_no_place(tmp_path, changes, said):
  path = tmp_path / "device.json"
  path.write_text(json.dumps(sheet(**changes)))
  with pytest.raises(UserError, match=said):
    device_sheet.read(path)


def test_the_embedded_device_is_the_same_every_time():
  one, other = (simulated.load(None, split, 0) for split in ("train", "test"))
  np.testing.assert_array_equal(one.data, other.data)
  assert len(one) == simulated.COUNT
  level = one.mean.mean(axis=1, keepdims=True)
  noise = (one.data - one.mean) / level
  assert noise.std() == pytest.approx(0.8 * simulated.NOISE, rel=0.05)
