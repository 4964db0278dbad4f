"""Images with masks: what is read, and what is refused in one line."""

import colorsys

from ml_collections import ConfigDict
import numpy as np
from numpy.testing import assert_array_equal
from PIL import Image
import pytest

from protojax.data import stream
from protojax.datasets import (
  mask_folder,
  planted,
  planted_mosaics,
  texture_mosaics,
)
from protojax.datasets.dataset import open_split
from protojax.types import UserError

VOID = 255


def _config(root, **keys):
  return ConfigDict(
    {
      "name": "mask_folder",
      "root": str(root),
      "train": "train",
      "test": "test",
      "masks": "masks",
      "classes": (),
      "void": VOID,
      "test_fraction": 0.5,
      "validation_fraction": 0.0,
      "split_seed": -1,
      "crop": False,
      **keys,
    }
  )


@pytest.fixture
def folder(tmp_path):
  """Four images of 6 x 8 pixels with masks of two classes and void."""
  rng = np.random.default_rng(0)
  for place in ("images", "masks"):
    (tmp_path / place).mkdir()
  for i in range(4):
    image = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
    _save(tmp_path, i, rng.choice((0, 1, VOID), (6, 8)))
  (tmp_path / "classes.txt").write_text("road\nside walk\n")
  return tmp_path


def _save(folder, i, values, dtype=np.uint8):
  mask = Image.fromarray(np.asarray(values, dtype))
  mask.save(folder / "masks" / f"{i}.png")


def test_a_seed_divides_the_images_of_one_folder(folder):
  splits = [open_split(_config(folder), s) for s in ("train", "test")]
  names = [source.name(i) for source in splits for i in range(len(source))]
  assert sorted(names) == [f"images/{i}.png" for i in range(4)]
  assert splits[0].class_names == ("road", "side walk")
  example = splits[0][0]
  assert example["mask"].shape == example["image"].shape[:2] == (6, 8)
  assert set(np.unique(example["mask"])) <= {0, 1, VOID}
  batch = next(stream.ordered(splits[0], 4, 2).batches())
  assert batch["mask"].shape == (2, 4, 4)


@pytest.mark.parametrize(
  ("images", "masks", "keys"),
  [
    ("{}/images", "{}/masks", {}),
    ("images/{}", "masks/{}", {}),
    ("{}", "{}annot", {"masks": "annot"}),
  ],
)
def test_layouts_with_splits(folder, images, masks, keys):
  for split, i in (("train", 0), ("test", 1)):
    for place, own in (("images", images), ("masks", masks)):
      target = folder / "all" / own.format(split)
      target.mkdir(parents=True)
      (folder / place / f"{i}.png").rename(target / "a.png")
  (folder / "classes.txt").rename(folder / "all" / "classes.txt")
  for split in ("train", "test"):
    assert len(open_split(_config(folder / "all", **keys), split)) == 1


def test_void_is_what_is_said(folder):
  values = np.array([[0, 1, 2], [2, 1, 0]])
  for i in range(4):
    _save(folder, i, values.repeat(3, 0).repeat(3, 1)[:6, :8])
  source = open_split(_config(folder, void=0), "train")
  expected = np.array([VOID, 0, 1])
  assert_array_equal(source[0]["mask"][0, ::3], expected)
  with pytest.raises(UserError, match=r"values 2, and there are 2 classes"):
    open_split(_config(folder), "train")


def test_colours_are_classes_that_have_them(folder):
  colours = np.array([(128, 64, 128), (244, 35, 232), (0, 0, 0)], np.uint8)
  lines = ["road 128 64 128", "side walk 244 35 232", "void 0 0 0"]
  (folder / "classes.txt").write_text("\n".join(lines))
  numbers = np.arange(48).reshape(6, 8) % 3
  for i in range(4):
    _save(folder, i, colours[numbers])
  source = open_split(_config(folder), "train")
  assert source.class_names == ("road", "side walk")
  assert_array_equal(source[0]["mask"], np.array([0, 1, VOID])[numbers])


def _wrong_size(folder):
  _save(folder, 2, np.zeros((3, 8)))


def _wrong_value(folder):
  _save(folder, 2, np.full((6, 8), 7))


def _colour(folder):
  _save(folder, 2, np.zeros((6, 8, 3)))


def _other_colour(folder):
  (folder / "classes.txt").write_text("a 1 2 3\nb 4 5 6")
  _colour(folder)


def _missing(folder):
  (folder / "masks" / "2.png").unlink()


def _named_twice(folder):
  (folder / "classes.txt").write_text("road\ncar\nroad\n")


def _half_coloured(folder):
  (folder / "classes.txt").write_text("road 1 2 3\ncar\n")


def _no_classes(folder):
  (folder / "classes.txt").unlink()


def _broken(folder):
  (folder / "masks" / "2.png").write_bytes(b"no image")


def _both(folder):
  return [open_split(_config(folder), split) for split in ("train", "test")]


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (_wrong_size, r"2\.png: it has 3 x 8 pixels and its image 6 x 8"),
    (_wrong_value, r"2\.png: it has the values 7, and there are 2 classes \(0"),
    (_colour, r"2\.png: it has colours and no palette: save it as an index"),
    (_other_colour, r"colours of no class, such as \(0, 0, 0\)"),
    (_missing, r"images/2\.png in .* has no mask masks/2\.png \(1 of"),
    (_named_twice, r"names the class 'road' twice: rename one"),
    (_half_coloured, r"'car' has no colour, and other classes have"),
    (_no_classes, r"has no classes\.txt: write the name of each class there"),
    (_broken, r"2\.png: not an image that Pillow can read"),
  ],
)
def test_a_wrong_folder_is_refused_in_one_line(folder, spoil, message):
  spoil(folder)
  with pytest.raises(UserError, match=message) as caught:
    _both(folder)
  assert "\n" not in str(caught.value)


def test_folders_that_are_not_there_are_named(tmp_path):
  config = _config(tmp_path, classes=("a", "b"))
  with pytest.raises(UserError, match="none of train/images beside train/mask"):
    mask_folder.load(config, "train", 0)


def test_mosaics_show_their_classes_and_share_no_half():
  config = ConfigDict({"train": "train:6", "test": "test:3"})
  train = texture_mosaics.load(config, "train", 0)
  test = texture_mosaics.load(config, "test", 0)
  assert (len(train), len(test)) == (6, 3)
  for i in range(6):
    example = train[i]
    classes, counts = np.unique(example["mask"], return_counts=True)
    assert 1 <= len(classes) <= 5
    assert counts.sum() == 64 * 64
    assert_array_equal(example["image"], train[i]["image"])
  # The larger zoom shows less of the photograph: its neighbours differ less.
  rough = {k: [] for k in range(6)}
  for i in range(6):
    step = np.abs(np.diff(train[i]["image"].mean(-1), axis=1))
    for k in np.unique(train[i]["mask"]):
      rough[k].append(step[train[i]["mask"][:, 1:] == k].mean())
  assert np.mean(rough[2]) > np.mean(rough[3])
  with pytest.raises(UserError, match="how many mosaics, as in train:300"):
    texture_mosaics.load(ConfigDict({"train": "train:0"}), "train", 0)


@pytest.mark.parametrize("name", ["hue", "texture", "contrast"])
def test_planted_mosaics_show_the_levels_of_one_characteristic(name):
  """Pixels of a planted hue have it, but for those without a colour."""
  config = ConfigDict({"train": "train:4", "characteristic": name})
  source = planted_mosaics.load(config, "train", 0)
  levels = planted.LEVELS[name][:: 2 if name == "contrast" else 1]
  assert source.class_names == tuple(f"{name} {level}" for level in levels)
  for i in range(4):
    example = source[i]
    assert_array_equal(example["image"], source[i]["image"])
    if name == "contrast":
      luma = example["image"] @ np.array([0.299, 0.587, 0.114])
      spread = [luma[example["mask"] == k].std() for k in range(3)]
      assert spread[0] > spread[2]
    for k in np.unique(example["mask"]):
      inside = example["mask"] == k
      if name != "hue":
        continue
      pixels = example["image"][inside].astype(float)
      coloured = pixels[np.ptp(pixels, axis=1) > 20] / 255
      if len(coloured) < 20:
        continue
      hues = np.array([colorsys.rgb_to_hsv(*p)[0] for p in coloured[:200]])
      apart = np.abs((360 * hues - levels[k] + 180) % 360 - 180)
      assert np.median(apart) < 8
