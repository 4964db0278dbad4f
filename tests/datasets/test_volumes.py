"""Volumes in files: space, slices, splits, windows, layouts and bad input."""

import numpy as np
import pytest

from protojax.data import splits as splits_lib
from protojax.datasets import slices, unlabelled, volume_file
from protojax.types import UserError
from tests.datasets import volume_fakes as fakes

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("pydicom")


# Files.


def test_axes_are_turned_and_a_point_stays_where_it_is(tmp_path):
  array = fakes.values()
  path = fakes.write(tmp_path / "a.nii.gz", array)
  found = volume_file.read(path)
  # Left, back, up became right, front, up.
  np.testing.assert_array_equal(found.values, array[::-1, ::-1])
  assert found.spacing == (2.0, 1.5, 3.0)
  voxel = np.array([1, 2, 3, 1])
  place = found.affine @ voxel
  own = np.linalg.inv(fakes.AFFINE) @ place
  i, j, k = np.rint(own[:3]).astype(int)
  assert array[i, j, k] == found.values[1, 2, 3]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL"])
def test_what_is_written_lies_where_the_input_lies(tmp_path, codes):
  turn = nibabel.orientations
  image = nibabel.Nifti1Image(fakes.values(), fakes.AFFINE)
  path = str(tmp_path / "a.nii.gz")
  nibabel.save(
    image.as_reoriented(
      turn.ornt_transform(
        turn.io_orientation(image.affine), turn.axcodes2ornt(codes)
      )
    ),
    path,
  )
  volume = volume_file.read(path)
  classes = (volume.values % 7).astype(np.uint8)
  volume_file.write(tmp_path / "out.nii.gz", classes, path)
  given, made = nibabel.load(path), nibabel.load(tmp_path / "out.nii.gz")
  np.testing.assert_allclose(made.affine, given.affine)
  assert made.header.get_zooms() == given.header.get_zooms()
  np.testing.assert_array_equal(
    np.asarray(made.dataobj), np.asarray(given.dataobj) % 7
  )
  # The same volume is the same file.
  first = (tmp_path / "out.nii.gz").read_bytes()
  volume_file.write(tmp_path / "out.nii.gz", classes, path)
  assert (tmp_path / "out.nii.gz").read_bytes() == first


@pytest.mark.parametrize("flipped", [False, True])
def test_a_dicom_series_is_a_volume_whatever_its_files_are_called(
  tmp_path, flipped
):
  planes = fakes.values(shape=(5, 8, 6))
  folder = fakes.series(tmp_path / "ct", planes, flipped=flipped)
  found = volume_file.read(folder)
  assert found.spacing == (2.0, 1.5, 3.0)
  # DICOM's columns go left and its rows back; Hounsfield units.
  wanted = 2.0 * planes.transpose(2, 1, 0)[::-1, ::-1] - 1000
  np.testing.assert_array_equal(found.values, wanted)
  # The first pixel of the first plane is at 10 mm right, 20 mm front, 5 mm up.
  x, y, _z = found.values.shape
  place = found.affine @ [x - 1, y - 1, 0, 1]
  np.testing.assert_allclose(place[:3], [10, 20, 5])
  # Masks of a series come in the order of its files' names.
  order = planes[::-1] if flipped else planes
  np.testing.assert_array_equal(
    volume_file.of_series(order, folder), planes.transpose(2, 1, 0)[::-1, ::-1]
  )
  classes = found.values.astype(int) % 7
  volume_file.write(tmp_path / "o.nii.gz", classes, folder)
  made = volume_file.read(str(tmp_path / "o.nii.gz"))
  np.testing.assert_array_equal(made.values, classes)
  np.testing.assert_allclose(made.affine, found.affine)


def test_a_series_with_a_missing_slice_is_refused(tmp_path):
  planes = fakes.values(shape=(6, 4, 4))
  folder = fakes.series(tmp_path / "ct", planes, left_out=(3,))
  with pytest.raises(UserError, match=r"lacks a slice.* after slice 3 of 5"):
    volume_file.read(folder)
  fakes.series(tmp_path / "two", planes)
  (tmp_path / "two" / "slice003.dcm").rename(tmp_path / "two" / "x.dcm")
  other = fakes.series(tmp_path / "other", planes[:1])
  (tmp_path / "two" / "other.dcm").write_bytes(
    next(tmp_path.joinpath("other").iterdir()).read_bytes()
  )
  with pytest.raises(UserError, match="holds 2 DICOM series"):
    volume_file.read(str(tmp_path / "two"))
  assert volume_file.is_volume(other)
  assert not volume_file.is_volume(str(tmp_path))


def test_files_that_are_no_volumes_are_refused(tmp_path):
  with pytest.raises(UserError, match="there is no volume"):
    volume_file.read(str(tmp_path / "a.nii.gz"))
  (tmp_path / "b.nii").write_bytes(b"text")
  with pytest.raises(UserError, match="is no NIfTI file"):
    volume_file.read(str(tmp_path / "b.nii"))
  four = fakes.write(tmp_path / "c.nii", np.zeros((2, 2, 2, 3), np.uint8))
  with pytest.raises(UserError, match=r"2 x 2 x 2 x 3 .* three axes"):
    volume_file.read(four)
  bad = fakes.write(tmp_path / "d.nii", np.full((2, 2, 2), np.nan, np.float32))
  with pytest.raises(UserError, match="not finite"):
    volume_file.read(bad)
  half = fakes.write(tmp_path / "e.nii", np.full((2, 2, 2), 0.5, np.float32))
  with pytest.raises(UserError, match=r"the label 0\.5"):
    volume_file.read_classes(half)


# Slices.


def test_slices_are_seen_as_on_a_light_box(tmp_path):
  """Axial: the front is up, and the patient's right is on the left."""
  array = np.zeros((4, 6, 3), np.int16)
  array[3, 5, 1] = 100  # right, front, in RAS
  array[0, 0, 1] = 50  # left, back
  fakes.write(tmp_path / "images/a.nii.gz", array, np.eye(4))
  fakes.write(tmp_path / "images/b.nii.gz", array, np.eye(4))
  found = fakes.opened(
    tmp_path, masks="", classes=("x", "y"), window=(0.0, 100.0)
  )
  plane = found[1]["image"]
  assert plane.shape == (6, 4, 3)
  assert (plane[0, 0] == 255).all()
  assert (plane[5, 3] == 128).all()
  assert "mask" not in found.fields
  assert "mask" not in found[1]
  stack = np.stack([found[i]["image"][..., 0] for i in range(3)])
  np.testing.assert_array_equal(
    slices.stacked(stack, 2), slices.windowed(array, (0.0, 100.0))
  )


def test_any_axis_and_its_inverse(tmp_path):
  root = fakes.folder(tmp_path)
  for axis, name in enumerate(volume_file.AXES):
    found = fakes.opened(root, axis=name)
    count = fakes.SHAPE[axis]
    assert len(found) == 2 * count
    planes = np.stack([found[i]["mask"] for i in range(count)])
    np.testing.assert_array_equal(
      slices.stacked(planes, axis), found.classes(found.places[0].study)
    )


def test_windows():
  array = np.array([[[-5, 0, 10, 20, 30]]], np.float32)
  np.testing.assert_array_equal(
    slices.windowed(array, (0.0, 20.0)), [[[0, 0, 128, 255, 255]]]
  )
  many = np.concatenate([np.zeros(500), np.linspace(100, 200, 1001)])
  grey = slices.windowed(many.reshape(1, 1, -1), ())
  # Air does not count: half of the rest is above the middle.
  assert abs(int(np.median(grey[grey > 0])) - 128) < 3
  assert np.all(slices.windowed(np.full((2, 2, 2), 7.0), ()) == 0)


def test_splits_keep_a_volume_whole(tmp_path):
  root = fakes.folder(tmp_path, "abcdefgh")
  train, test = (fakes.opened(root, split) for split in ("train", "test"))
  names = [{s.name for s in each.studies} for each in (train, test)]
  assert not names[0] & names[1]
  assert sorted(names[0] | names[1]) == list("abcdefgh")
  assert len(names[1]) == 3
  kept, held = splits_lib.divided(train, 0.4, 0)
  volumes_of = [
    {int(train.groups[i]) for i in part.rows} for part in (kept, held)
  ]
  assert not volumes_of[0] & volumes_of[1]
  assert train.note == ""


def test_one_volume_is_cut_into_blocks_with_gaps(tmp_path, caplog):
  shape = (3, 4, 50)
  root = fakes.folder(tmp_path, "a", shape)
  train, test = (fakes.opened(root, split) for split in ("train", "test"))
  assert "There is one volume only" in train.note
  assert "one volume only" in caplog.text
  numbers = [
    np.array([p.number for p in each.places]) for each in (train, test)
  ]
  apart = np.abs(numbers[0][:, None] - numbers[1][None]).min()
  assert apart > slices.GAP
  assert set(train.groups) & set(test.groups) == set()
  assert len(train) + len(test) == 3 * slices.BLOCK
  kept, held = splits_lib.divided(train, 0.4, 0)
  sides = [numbers[0][part.rows] for part in (kept, held)]
  assert np.abs(sides[0][:, None] - sides[1][None]).min() > slices.GAP


def test_a_volume_with_one_slice(tmp_path):
  """It is a volume among others, and alone it is refused."""
  root = fakes.folder(tmp_path / "several", "ab", (4, 5, 1))
  assert len(fakes.opened(root)) == 1
  root = fakes.folder(tmp_path / "one", "a", (4, 5, 1))
  with pytest.raises(UserError, match="only volume and has 1 slices"):
    fakes.opened(root)


# Bad input.


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda x, a: (x[:-1], a), "its voxels are 5 x 8 x 5, expected 6 x 8 x 5"),
    (
      lambda x, a: (x, a + np.diag([0, 0, 0.5, 0])),
      "its affine differs by 0.5",
    ),
    (
      lambda x, a: (x[::-1], a @ np.diag([-1.0, 1, 1, 1])),
      "its axes are RPS, expected LPS",
    ),
    (
      lambda x, a: (x + np.uint8(4) * (x == 2), a),
      "values without a class: 6; .* 0, 1",
    ),
  ],
)
def test_labels_that_do_not_fit_their_image(tmp_path, change, message):
  root = fakes.folder(tmp_path)
  array, affine = change(fakes.labels(), fakes.AFFINE)
  fakes.write(tmp_path / "labels/b.nii.gz", array, affine)
  with pytest.raises(UserError, match=message) as error:
    fakes.opened(root)
  assert "labels/b.nii.gz" in str(error.value)
  assert "\n" not in str(error.value)


def test_a_folder_that_is_none_says_what_is_expected(tmp_path):
  root = fakes.folder(tmp_path)
  for changes, message in (
    ({"root": str(tmp_path / "no")}, "is no folder"),
    ({"domain": "mr"}, "has no such folder"),
    ({"axis": "up"}, "choose sagittal, coronal, axial"),
    ({"window": (3, 1)}, "lowest and the highest"),
    ({"masks": "truth"}, "a.nii.gz has no labels"),
    ({"test_fraction": 0.0}, "leaves a split empty"),
  ):
    with pytest.raises(UserError, match=message):
      fakes.opened(**{"root": root, **changes})
  (tmp_path / "classes.txt").unlink()
  with pytest.raises(UserError, match=r"has no classes\.txt"):
    fakes.opened(root)
  with pytest.raises(UserError, match="has no volumes in train/images"):
    fakes.opened(tmp_path / "images", classes=("a", "b"))


def test_a_source_without_labels_never_gives_them(tmp_path):
  root = fakes.folder(tmp_path)
  hidden = unlabelled.Unlabelled(fakes.opened(root))
  assert set(hidden.fields) == {"image", "volume"}
  assert set(hidden[0]) == {"image", "name"}
  np.testing.assert_array_equal(hidden.groups, fakes.opened(root).groups)
  # Without masks in the config, the files need not be there.
  for path in (tmp_path / "labels").iterdir():
    path.unlink()
  assert len(fakes.opened(root, masks=""))
