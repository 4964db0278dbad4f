"""Volumes in files: space, slices, splits, windows, layouts and bad input."""

from ml_collections import ConfigDict
import numpy as np
import pytest

from protojax.data import splits as splits_lib
from protojax.datasets import (
  abdomen,
  brats,
  dataset,
  mmwhs,
  mni,
  slices,
  unlabelled,
  volume_file,
  volume_folder,
  volumes,
)
from protojax.types import UserError
from tests.datasets import volume_fakes as fakes

nibabel = pytest.importorskip("nibabel")
pytest.importorskip("pydicom")


def config(root, **changes):
  found = {
    "name": "volume_folder",
    "root": str(root),
    "domain": "",
    "train": "train",
    "test": "test",
    "masks": "labels",
    "classes": (),
    "void": 255,
    "test_fraction": 0.4,
    "validation_fraction": 0.0,
    "split_seed": -1,
    "crop": False,
    "axis": "axial",
    "window": (),
  }
  return ConfigDict({**found, **changes})


def opened(root, split="train", **changes):
  return volume_folder.load(config(root, **changes), split, 0)


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
  found = opened(tmp_path, masks="", classes=("x", "y"), window=(0.0, 100.0))
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
    found = opened(root, axis=name)
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
  train, test = (opened(root, split) for split in ("train", "test"))
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
  train, test = (opened(root, split) for split in ("train", "test"))
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
  assert len(opened(root)) == 1
  root = fakes.folder(tmp_path / "one", "a", (4, 5, 1))
  with pytest.raises(UserError, match="only volume and has 1 slices"):
    opened(root)


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
    opened(root)
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
      opened(**{"root": root, **changes})
  (tmp_path / "classes.txt").unlink()
  with pytest.raises(UserError, match=r"has no classes\.txt"):
    opened(root)
  with pytest.raises(UserError, match="has no volumes in train/images"):
    opened(tmp_path / "images", classes=("a", "b"))


def test_a_source_without_labels_never_gives_them(tmp_path):
  root = fakes.folder(tmp_path)
  hidden = unlabelled.Unlabelled(opened(root))
  assert set(hidden.fields) == {"image", "volume"}
  assert set(hidden[0]) == {"image", "name"}
  np.testing.assert_array_equal(hidden.groups, opened(root).groups)
  # Without masks in the config, the files need not be there.
  for path in (tmp_path / "labels").iterdir():
    path.unlink()
  assert len(opened(root, masks=""))


# Layouts.


def test_domains_are_folders_of_a_plain_one(tmp_path):
  fakes.folder(tmp_path, "ab", where="mr/train")
  fakes.folder(tmp_path, "c", where="mr/test")
  found = opened(tmp_path, domain="mr")
  assert [s.name for s in found.studies] == ["a", "b"]
  assert found.class_names == ("outside", "heart", "liver")
  assert dataset.open_split(config(tmp_path, domain="mr"), "test").name(0) == (
    "c-axial-000"
  )


def test_brats_has_one_class_of_tumour(tmp_path):
  for n in range(3):
    name = f"BraTS20_Training_{n:03d}"
    place = tmp_path / name
    fakes.write(place / f"{name}_flair.nii.gz", fakes.values(n))
    seg = np.array([0, 1, 2, 4], np.uint8)[fakes.labels(classes=4)]
    fakes.write(place / f"{name}_seg.nii.gz", seg)
  found = brats.load(config(tmp_path, domain="flair"), "train", 0)
  assert len(found.studies) == 2
  assert set(np.unique(found.classes(0))) == {0, 1}
  with pytest.raises(UserError, match="choose flair or t1 or"):
    brats.load(config(tmp_path, domain="ct"), "train", 0)
  with pytest.raises(UserError, match="no folder NAME with NAME_t2"):
    brats.load(config(tmp_path, domain="t2"), "train", 0)


def test_abdomens_of_chaos_and_btcv(tmp_path):
  from PIL import Image

  planes = fakes.values(shape=(3, 4, 6))
  grey = np.array([0, 63, 126, 189, 252], np.uint8)
  masks = grey[fakes.labels((3, 4, 6), 5)]
  for n in "12":
    place = tmp_path / "Train_Sets/MR" / n / "T2SPIR"
    fakes.series(place / "DICOM_anon", planes)
    (place / "Ground").mkdir()
    for i, mask in enumerate(masks):
      Image.fromarray(mask).save(place / "Ground" / f"{i}.png")
    where = tmp_path / "RawData/Training"
    fakes.write(where / f"img/img000{n}.nii.gz", fakes.values())
    organs = np.array([0, 6, 13], np.uint8)[fakes.labels()]
    fakes.write(where / f"label/label000{n}.nii.gz", organs)
  mr = abdomen.load(config(tmp_path, domain="mr"), "train", 0)
  np.testing.assert_array_equal(
    mr.classes(0), fakes.labels((3, 4, 6), 5).transpose(2, 1, 0)[::-1, ::-1]
  )
  ct = abdomen.load(config(tmp_path, domain="ct"), "test", 0)
  assert set(np.unique(ct.classes(0))) == {0, 1}
  (tmp_path / "Train_Sets/MR/1/T2SPIR/Ground/0.png").unlink()
  with pytest.raises(UserError, match="has 2 PNGs"):
    abdomen.load(config(tmp_path, domain="mr"), "train", 0)


def test_hearts_as_sifas_authors_have_them(tmp_path):
  rng = np.random.default_rng(0)
  for place in ("train_mr", "gt_train_mr", "test_mr"):
    (tmp_path / place).mkdir()
  for n in range(12):
    stem = f"mr_train_slice{n}"
    np.save(tmp_path / f"train_mr/{stem}.npy", np.full((4, 6, 3), n, float))
    truth = rng.integers(0, 5, (4, 6))
    np.save(tmp_path / f"gt_train_mr/{stem}_gt.npy", truth)
  image, truth = rng.normal(size=(4, 6, 3)), rng.integers(0, 5, (4, 6, 3))
  np.savez(tmp_path / "test_mr/image_mr_1007.nii.gz.npz", image, truth)
  chosen = config(tmp_path, domain="mr")
  train, test = (mmwhs.load(chosen, split, 0) for split in ("train", "test"))
  # By number, not by letters; -1.8 is black and 4.4 white.
  assert train.name(2) == "mr_train_slice2-axial-000"
  assert (train[2]["image"] == round(3.8 / 6.2 * 255)).all()
  np.testing.assert_array_equal(test.classes(0), truth[::-1, ::-1])
  assert len(test) == 3
  np.save(tmp_path / "gt_train_mr/mr_train_slice0_gt.npy", np.full((4, 6), 5))
  with pytest.raises(UserError, match="values without a class: 5"):
    mmwhs.load(chosen, "train", 0)[0]


def test_the_embedded_brain():
  pytest.importorskip("nilearn")
  whole = config("", name="mni", domain="whole")
  train, test = (mni.load(whole, split, 0) for split in ("train", "test"))
  assert (len(train), len(test)) == (63, 18)
  classes = train.classes(0)
  shares = np.bincount(classes.ravel()) / classes.size
  # As counted in nilearn's wheel: 78.3, 2.0, 12.4 and 7.3 %.
  np.testing.assert_allclose(shares, [0.783, 0.020, 0.124, 0.073], atol=6e-4)
  assert train.spacing(0) == (1.0, 1.0, 1.0)
  parts = {
    (domain, split): {
      place.number
      for place in mni.load(
        config("", name="mni", domain=domain), split, 0
      ).places
    }
    for domain in ("source", "target")
    for split in ("train", "test")
  }
  assert parts["source", "test"] == parts["target", "test"]
  each = [np.array(sorted(parts[k])) for k in list(parts)[:3]]
  for i, a in enumerate(each):
    for b in each[:i]:
      assert np.abs(a[:, None] - b[None]).min() > slices.GAP
  target = mni.load(config("", name="mni", domain="target"), "test", 0)
  i = 4
  grey, mask = target[i]["image"][..., 0], target[i]["mask"]
  means = [grey[mask == k].mean() for k in range(4)]
  # No monotone change undoes it: T1 has outside < other < grey < white.
  assert means[0] < means[3] < means[2] < means[1]


# Preparing.


def test_prepared_volumes_are_the_same_in_a_plain_folder(tmp_path):
  for n in range(2):
    name = f"BraTS20_Training_{n:03d}"
    for kind in ("flair", "t2"):
      place = tmp_path / "in" / name / f"{name}_{kind}.nii.gz"
      fakes.write(place, fakes.values(n))
    seg = (fakes.labels() > 0).astype(np.uint8)
    fakes.write(tmp_path / "in" / name / f"{name}_seg.nii.gz", seg)
  steps = []
  outcome = volumes.prepare(
    str(tmp_path / "in"),
    str(tmp_path / "out"),
    steps.append,
    lambda: steps.append(1),
  )
  assert outcome.counts["flair train"] == outcome.counts["t2 test"] == 1
  assert steps[0] == sum(outcome.counts.values()) == len(steps) - 1
  before = brats.load(config(tmp_path / "in", domain="t2"), "train", 0)
  after = opened(tmp_path / "out", domain="t2")
  assert after.class_names == brats.CLASS_NAMES
  assert after.spacing(0) == before.spacing(0)
  for i in range(len(before)):
    for key in ("image", "mask"):
      np.testing.assert_array_equal(after[i][key], before[i][key])
  with pytest.raises(UserError, match="holds something already"):
    volumes.prepare(str(tmp_path), str(tmp_path / "out"), steps.append, list)
