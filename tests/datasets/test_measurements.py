"""Measurements: the embedded stand-in, and files of one's own."""

from types import SimpleNamespace

import numpy as np
import pytest

from protojax.datasets import measured_digits, measurement_file
from protojax.types import UserError
from tests.datasets.test_faces import Data


def digits(split, seed=0):
  data = Data(root="", train="train", test=split)
  return measured_digits.load(data, "test", seed)


def test_no_image_is_measured_and_none_is_in_two_splits():
  train, test = digits("train"), digits("test")
  measured = measured_digits.measure(None, 0)
  assert len(train) + len(test) + len(measured) > 1400
  whole = {image.tobytes() for image in train.grey}
  assert not whole & {image.tobytes() for image in test.grey}
  assert measured.synthetic
  assert len(np.unique(measured.groups)) > 3
  assert np.abs(measured.targets).max() <= 1
  other = measured_digits.measure(None, 1)
  assert not np.array_equal(measured.values[:9], other.values[:9])


def test_edges_have_directions():
  ramp = np.tile(np.arange(8, dtype=np.uint8) * 30, (8, 1))
  across, down = measured_digits.edges(ramp), measured_digits.edges(ramp.T)
  assert across[3, 3].argmax() == 0
  assert down[3, 3].argmax() == 2
  np.testing.assert_allclose(across[3, 3, 0], down[3, 3, 2], rtol=1e-5)


@pytest.mark.parametrize(
  "split", ["inverted", "textured", "blurred", "rotated"]
)
def test_shifts_change_images_and_lack_classes(split):
  plain, shifted = digits("test"), digits(split)
  gone = {plain.class_names.index(name) for name in measured_digits.MISSING}
  assert set(shifted.labels) == set(range(8)) - gone
  assert shifted.class_names == plain.class_names
  kept = plain.grey[~np.isin(plain.labels, list(gone))]
  images = np.stack([shifted[i]["image"][..., 0] for i in range(20)])
  assert (images != kept[:20]).any(axis=(1, 2)).all()
  np.testing.assert_array_equal(images[3], shifted[3]["image"][..., 0])
  if split == "inverted":
    np.testing.assert_array_equal(images, 255 - kept[:20])


def test_other_splits_and_roots_are_refused():
  with pytest.raises(UserError, match="no split 'mirrored', but train, test"):
    digits("mirrored")
  with pytest.raises(UserError, match="the digits are embedded"):
    measured_digits.load(Data(root="x", test="test"), "test", 0)


def file(tmp_path, size=8, **arrays):
  path = tmp_path / "scans.npz"
  rng = np.random.default_rng(0)
  given = {
    "values": rng.normal(size=(6, 8, 8, 2)),
    "targets": rng.uniform(-1, 1, (6, 2)),
    "groups": np.arange(6) // 2,
    **arrays,
  }
  np.savez(path, **{k: x for k, x in given.items() if x is not None})
  modality = SimpleNamespace(root=str(path), size=size)
  return measurement_file.measure(modality, 0)


def test_a_file_of_maps_or_of_features(tmp_path):
  found = file(tmp_path)
  assert found.channels == ("channel 0", "channel 1")
  assert found[5]["values"].shape == (8, 8, 2)
  assert not found.synthetic
  np.testing.assert_array_equal(found.groups, [0, 0, 1, 1, 2, 2])
  flat = file(tmp_path, size=1, values=np.ones((6, 5)), groups=None)
  assert flat.values.shape == (6, 1, 1, 5)
  np.testing.assert_array_equal(flat.groups, range(6))


@pytest.mark.parametrize(
  ("arrays", "said"),
  [
    ({"targets": None}, "lacks targets; it has values, groups"),
    ({"targets": np.zeros((6, 3))}, r"\(6, 3\); expected \(6, 2\)"),
    ({"values": np.zeros((6, 5))}, r"set --config\.modality\.size=1"),
    ({"values": np.zeros((6, 5, 5))}, r"expected numbers \[n H W c\]"),
    ({"values": np.full((6, 8, 8, 2), np.nan)}, "values .* in 6 of 6 rows"),
    ({"groups": np.zeros(5, int)}, "groups .* expected whole numbers"),
  ],
)
def test_files_that_are_none_are_refused(tmp_path, arrays, said):
  with pytest.raises(UserError, match=said):
    file(tmp_path, **arrays)


def test_no_file_is_refused(tmp_path):
  modality = SimpleNamespace(root="", size=8)
  with pytest.raises(UserError, match="no measurements given"):
    measurement_file.measure(modality, 0)
  modality.root = str(tmp_path / "absent.npz")
  with pytest.raises(UserError, match=r"absent\.npz"):
    measurement_file.measure(modality, 0)
