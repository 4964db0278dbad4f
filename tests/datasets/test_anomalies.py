"""The source of normal and defective images: splits, draws, bad input."""

import itertools
import os
from pathlib import Path
import time

import numpy as np
from PIL import Image
import pytest

from protojax.data import stream
from protojax.data.resizing import SQUASH
from protojax.data.source import Source
from protojax.datasets import anomalies
from protojax.types import UserError
from tests.conftest import ROOT
from tests.datasets import anomaly_fakes as fakes

MAGTILE = ROOT.parent / "shared" / "data" / "magtile_small"


def load(root, split, seed=0, **changes):
  return anomalies.open_split(
    fakes.config(root=str(root), **changes), split, seed
  )


def splits(root, seed=0, **changes):
  return [load(root, split, seed, **changes) for split in anomalies.SPLITS]


def names(source):
  return [source.name(i) for i in range(len(source))]


def test_a_source_with_truth(make_folder):
  root = make_folder(fakes.mvtec("cable", "bottle"))
  test = load(root, "test")
  assert isinstance(test, Source)
  assert test.class_names == ("normal", "crack", "hole")
  assert test.category_names == ("bottle", "cable")
  assert test.has_truth
  assert test.skipped == ()
  assert len(test) == 18
  assert test.labels.dtype == test.categories.dtype == np.int32
  assert np.bincount(test.labels).tolist() == [6, 6, 6]
  assert np.bincount(test.categories).tolist() == [9, 9]
  for i in range(len(test)):
    item, path = test[i], os.path.join(root, test.name(i))
    assert item["name"] == test.name(i)
    assert item["label"] == test.labels[i]
    np.testing.assert_array_equal(item["image"], np.array(Image.open(path)))
    truth = test.truth(i)
    assert truth.dtype == bool
    number = int(Path(path).stem)
    expected = fakes.mask(number) > 0 if test.labels[i] else np.zeros((12, 10))
    np.testing.assert_array_equal(truth, expected)


def test_normal_images_alone_are_learned_from(make_folder):
  root = make_folder(fakes.mvtec("cable", "bottle"))
  train, calibration, test = splits(root)
  assert train.class_names == calibration.class_names == test.class_names
  for source in (train, calibration):
    assert not source.labels.any()
    assert not source.truth(0).any()
  # A quarter of the normal training images of each category is held out.
  assert np.bincount(train.categories).tolist() == [6, 6]
  assert np.bincount(calibration.categories).tolist() == [2, 2]
  everything = names(train) + names(calibration)
  assert len(set(everything)) == len(everything) == 16
  assert all("/train/good/" in name for name in everything)


def test_a_plain_folder_is_split_by_its_seed(make_folder):
  root = make_folder(fakes.plain(count=20))
  sources = splits(root, seed=1)
  drawn = [names(source) for source in sources]
  normal = [[n for n in split if n.startswith("good")] for split in drawn]
  assert [len(split) for split in normal] == [9, 3, 8]
  assert sorted(itertools.chain(*normal)) == [
    f"good/{i:02d}.png" for i in range(20)
  ]
  assert np.bincount(sources[2].labels).tolist() == [8, 3, 3, 3]
  assert [names(source) for source in splits(root, seed=1)] == drawn
  assert [names(source) for source in splits(root, seed=2)] != drawn
  fixed = [names(source) for source in splits(root, seed=2, split_seed=1)]
  assert fixed == drawn


def test_no_image_needs_to_be_held_out(make_folder):
  root = make_folder(fakes.plain(count=20))
  drawn = [names(load(root, s)) for s in anomalies.SPLITS]
  train, calibration, test = (
    names(load(root, s, calibration_fraction=0.0)) for s in anomalies.SPLITS
  )
  assert train == calibration == sorted(drawn[0] + drawn[1])
  assert test == drawn[2]


def test_a_new_image_changes_the_rank_of_no_other(make_folder):
  root = make_folder(fakes.plain(count=20))
  before = [set(names(source)) for source in splits(root)]
  make_folder({"good/zz.png": 1})
  after = [set(names(source)) for source in splits(root)]
  for old, new in zip(before, after, strict=True):
    assert len(old - new) <= 1
  few = names(load(root, "calibration", shots=3))
  make_folder({"good/yy.png": 1})
  assert len(set(few) - set(names(load(root, "calibration", shots=3)))) <= 1


def test_categories(make_folder):
  root = make_folder(fakes.mvtec("bottle", "cable", "screw"))
  some = load(root, "train", category="screw, bottle")
  assert some.category_names == ("bottle", "screw")
  alone = load(root, "train", category="bottle")
  everything = load(root, "train")
  own = everything.categories == 0
  assert names(alone) == [
    n for n, o in zip(names(everything), own, strict=True) if o
  ]
  with pytest.raises(UserError, match=r"'botle' in .*; it has bottle"):
    load(root, "train", category="botle")
  with pytest.raises(UserError, match=r"'x' in .*bottle, cable, screw"):
    load(root, "train", category="x")


def test_several_data_sets_at_once(make_folder, tmp_path):
  first = make_folder(fakes.mvtec("zipper", "bottle"))
  os.rename(first, tmp_path / "mvtec")
  second = make_folder(fakes.real_iad("zipper"))
  roots = f"{tmp_path / 'mvtec'}, {second}"
  train, calibration, test = splits(roots)
  assert test.category_names == ("mvtec/bottle", "mvtec/zipper", "root/zipper")
  assert test.class_names == ("normal", "AK", "crack", "hole")
  assert np.bincount(test.categories).tolist() == [9, 9, 4]
  assert [len(train), len(calibration)] == [15, 5]
  for i in range(len(test)):
    path = os.path.join(tmp_path, test.name(i))
    np.testing.assert_array_equal(test[i]["image"], _pixels(path))
    assert test.truth(i).any() == bool(test.labels[i])
  zippers = load(roots, "test", category="zipper")
  assert zippers.category_names == ("mvtec/zipper", "root/zipper")
  one = load(roots, "test", category="root/zipper")
  assert one.category_names == ("root/zipper",)
  with pytest.raises(UserError, match="names a folder twice"):
    load(f"{second},{second}/", "test")


def test_data_sets_of_one_name(make_folder, tmp_path):
  for place in ("a", "b"):
    os.makedirs(tmp_path / place)
    os.rename(make_folder(fakes.mvtec("cup")), tmp_path / place / "root")
  both = load(f"{tmp_path}/a/root,{tmp_path}/b/root", "train")
  assert both.category_names == ("a/root/cup", "b/root/cup")
  assert len(set(names(both))) == len(both) == 12


def test_a_comma_in_the_name_of_a_folder(make_folder, tmp_path):
  os.rename(make_folder(fakes.plain()), tmp_path / "a,b")
  assert load(tmp_path / "a,b", "train").category_names == ("a,b",)


def test_few_shots(make_folder):
  root = make_folder(fakes.mvtec("bottle", "cable"))
  train, calibration, test = splits(root, shots=2)
  assert len(train) == 2 * 2 * 22
  assert np.bincount(train.categories).tolist() == [44, 44]
  assert len(calibration) == 4
  assert len(test) == 18
  originals = [n for n in names(train) if n.endswith("#original")]
  assert [n.removesuffix("#original") for n in originals] == names(calibration)
  assert len(set(names(train))) == len(train)
  np.testing.assert_array_equal(train[0]["image"], calibration[0]["image"])
  assert not train.truth(5).any()
  assert names(load(root, "calibration", 1, shots=2)) != names(calibration)
  with pytest.raises(UserError, match=r"'bottle' .*8 normal.*shots=9"):
    load(root, "train", shots=9)


def test_another_light(make_folder):
  root = make_folder(fakes.plain())
  source = load(root, "test")
  other = anomalies.shifted(source, 0.5, 20.0)
  for i in (0, len(source) - 1):
    expected = np.rint(0.5 * source[i]["image"] + 20).astype(np.uint8)
    np.testing.assert_array_equal(other[i]["image"], expected)
    np.testing.assert_array_equal(other.truth(i), source.truth(i))
  bright = anomalies.shifted(source, 2.0, 100.0)
  assert bright[0]["image"].max() == 255
  assert names(other) == names(source)


def test_streams_read_it(make_folder):
  root = make_folder(fakes.mvtec("bottle"))
  test = load(root, "test")
  (batch,) = stream.ordered(test, 16, 10).batches()
  expected = [
    SQUASH.frame((1, 1), 16).pixels(test[i]["image"]) for i in range(9)
  ]
  np.testing.assert_array_equal(batch["image"][:9], expected)
  np.testing.assert_array_equal(batch["label"][:9], test.labels)


def test_broken_images_are_named_skipped_and_counted(make_folder):
  tree = fakes.mvtec("bottle", "cable")
  tree["cable/train/good/003.png"] = b"junk"
  tree["cable/test/hole/001.png"] = b""
  root = make_folder(tree)
  for source in splits(root):
    assert dict(source.skipped) == {
      "cable/train/good/003.png": "not an image that Pillow can read",
      "cable/test/hole/001.png": "empty file",
    }
  assert len(load(root, "test")) == 17
  assert load(root, "test", category="bottle").skipped == ()


def test_a_file_that_changes_later_is_a_users_error(make_folder):
  root = make_folder(fakes.mvtec("bottle"))
  test = load(root, "test")
  defective = int(np.flatnonzero(test.labels)[0])
  for name in (test.name(0), test.name(defective)):
    Path(root, name).write_bytes(b"junk")
  Path(root, "bottle/ground_truth/crack/000_mask.png").unlink()
  for read in (lambda: test[0], lambda: test.truth(0)):
    with pytest.raises(UserError, match=r"good/000\.png was readable when"):
      read()
  with pytest.raises(UserError, match=r"000_mask\.png was readable when"):
    test.truth(defective)


def changed(**changes):
  """The tree of MVTec-AD with some files changed; None takes one away."""
  tree = fakes.mvtec("cup")
  for name, content in changes.items():
    if content is None:
      del tree[name]
    else:
      tree[name] = content
  return tree


MASK = "cup/ground_truth/crack/001_mask.png"


@pytest.mark.parametrize(
  ("tree", "message"),
  [
    (
      changed(**{MASK: None}),
      "defective image cup/test/crack/001.png in .* has no mask: expected"
      f" {MASK}. Add it",
    ),
    (
      changed(**{MASK: None, MASK.replace("001", "002"): None}),
      f"expected {MASK} .and 1 more",
    ),
    (changed(**{MASK: b"junk"}), f"mask {MASK} in .* is broken: not an image"),
    (
      changed(**{MASK: fakes.png(fakes.mask())[:50]}),
      f"mask {MASK} in .* is broken",
    ),
    (
      changed(**{MASK: fakes.mask(size=(10, 12))}),
      f"mask {MASK} .* 12x10 pixels and its image .*001.png 10x12",
    ),
    (
      fakes.plain() | {"dent/9.jpg": 1},
      r"dent/9\.jpg in .* has no mask: expected dent/9_mask\.png",
    ),
  ],
)
def test_masks_are_looked_at_when_the_data_are_opened(
  make_folder, tree, message
):
  root = make_folder(tree)
  with pytest.raises(UserError, match=message):
    load(root, "test")


@pytest.mark.parametrize(
  ("tree", "message"),
  [
    (
      fakes.mvtec("a") | {"b/test/good/1.png": 1},
      "category 'b' of .* has no normal training images",
    ),
    (
      {"b/train/good/1.png": b"junk", "b/train/good/2.png": b"junk"},
      r"'b' .* all 2 are broken, such as b/train/good/1\.png .not an image",
    ),
    (
      fakes.mvtec("a", train=1),
      "'a' .* too few normal images: 1 to divide over training and calibration",
    ),
    (fakes.plain(count=1), "1 to divide over training and test"),
    (fakes.plain(count=2), "1 to divide over training and calibration"),
    (fakes.mvtec("a", test=0), "has no readable test image"),
  ],
)
def test_too_few_images(make_folder, tree, message):
  with pytest.raises(UserError, match=message):
    load(make_folder(tree), "test")


def test_bad_configs(tmp_path, make_folder):
  with pytest.raises(UserError, match=r"set --config\.data\.root"):
    load("", "train")
  with pytest.raises(UserError, match="nowhere is not there: set --config"):
    load(tmp_path / "nowhere", "train")
  (tmp_path / "file").touch()
  with pytest.raises(UserError, match="file is a file: set --config"):
    load(tmp_path / "file", "train")
  root = make_folder(fakes.plain())
  with pytest.raises(UserError, match=r"is .mvtec.; expected one of elpv, fol"):
    load(root, "train", name="mvtec")
  with pytest.raises(UserError, match="split 'val': use train, calibration"):
    load(root, "val")
  with pytest.raises(UserError, match=r"calibration_fraction=1\.0 leaves a"):
    load(root, "train", calibration_fraction=1.0)
  with pytest.raises(UserError, match=r"shots=-1: give a number"):
    load(root, "train", shots=-1)


def test_names_that_are_not_utf8(make_folder):
  root = make_folder(fakes.plain())
  folder = os.path.join(os.fsencode(root), b"good")
  os.rename(os.path.join(folder, b"00.png"), os.path.join(folder, b"\xff.png"))
  everything = [name for source in splits(root) for name in names(source)]
  assert "good/\\xff.png" in everything
  "".join(everything).encode()


def test_real_tiles():
  if not MAGTILE.is_dir():
    pytest.skip(f"there is no {MAGTILE}")
  start = time.perf_counter()
  train, calibration, test = splits(MAGTILE, calibration_fraction=0.2)
  print(f"magtile_small opened in {time.perf_counter() - start:.2f} s")
  assert [len(train), len(calibration), len(test)] == [72, 18, 252]
  assert test.class_names[1:] == (
    "Blowhole",
    "Break",
    "Crack",
    "Fray",
    "Uneven",
  )
  assert np.bincount(test.labels).tolist() == [60, 40, 40, 40, 32, 40]
  for i in range(0, len(test), 7):
    truth, image = test.truth(i), test[i]["image"]
    assert truth.shape == image.shape[:2]
    assert test.labels[i] or not truth.any()
    assert truth.mean() < 0.7


def _pixels(path):
  return np.array(Image.open(path).convert("RGB"))
