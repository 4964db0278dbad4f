"""Layouts of volumes of others, the embedded brain, and preparing."""

import numpy as np
import pytest

from protojax.datasets import (
  abdomen,
  brats,
  dataset,
  mmwhs,
  mni,
  slices,
  volumes,
)
from protojax.types import UserError
from tests.datasets import volume_fakes as fakes
from tests.datasets.volume_fakes import config, opened

pytest.importorskip("nibabel")
pytest.importorskip("pydicom")


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
