"""Folders of generators: layouts of the benchmarks, splits, and bad input."""

import numpy as np
import pytest

from protojax.datasets import dataset, generators
from protojax.types import UserError


def _pairs(*names, real="real", fake="fake", inside="", above=""):
  """Two real and two generated images of each generator."""
  return {
    f"{above}{name}/{inside}{kind}/{n}.png": 10 * len(name) + n
    for name in names
    for kind in (real, fake)
    for n in range(2)
  }


@pytest.fixture
def opened(data_config):
  """Function: folder, split, keys -> the source."""

  def make(root, split="train", **changes):
    given = {
      "test_root": "",
      "real": "",
      "held_out": (),
      "test_fraction": 0.34,
      **changes,
    }
    config = data_config(name="generators", root=root).unlock()
    config.update(given)
    return dataset.open_split(config, split, seed=0)

  return make


def _content(source):
  return {
    (source.generator_names[g], int(label), name)
    for g, label, name in zip(
      source.groups, source.labels, source.names, strict=True
    )
  }


def test_whole_generators_are_held_out(make_folder, opened):
  root = make_folder(_pairs("a", "b", "c"))
  train, test = opened(root), opened(root, "test")
  assert train.class_names == ("real", "generated")
  assert len(train.generator_names) == 2
  assert len(test.generator_names) == 1
  assert set(train.generator_names) | set(test.generator_names) == {*"abc"}
  np.testing.assert_array_equal(test.labels, [0, 0, 1, 1])
  name = test.generator_names[0]
  assert (name, 1, f"{name}/fake/0.png") in _content(test)
  assert train[0]["image"].shape == (12, 10, 3)
  chosen = opened(root, "test", held_out=("a", "c"))
  assert chosen.generator_names == ("a", "c")


def test_layouts_of_the_benchmarks(make_folder, opened):
  """ForenSynths with classes and splits; GenImage; Chameleon to test on."""
  numbered = {"real": "0_real", "fake": "1_fake"}
  imagenet = {"real": "nature", "fake": "ai"}
  root = make_folder(
    {
      **_pairs("progan", above="f/train/", inside="cat/", **numbered),
      **_pairs("progan", "dalle", above="f/test/", **numbered),
      **_pairs("adm", "sd", above="g/", inside="x/train/", **imagenet),
      **_pairs("adm", "sd", above="g/", inside="x/val/", **imagenet),
      **_pairs("test", above="chameleon/", **numbered),
    }
  )
  train = opened(f"{root}/f")
  assert train.generator_names == ("progan",)
  assert ("progan", 1, "train/progan/cat/1_fake/0.png") in _content(train)
  assert opened(f"{root}/f", "test").generator_names == ("dalle", "progan")
  genimage = opened(f"{root}/g", "test", test="val")
  assert genimage.generator_names == ("adm", "sd")
  assert all("/val/" in name for name in genimage.names)
  away = {"test_root": f"{root}/chameleon"}
  assert opened(f"{root}/f", "test", **away).generator_names == ("chameleon",)
  assert opened(f"{root}/f", **away).generator_names == ("progan",)


def test_generators_share_a_folder_of_real_images(make_folder, opened):
  """SynthBuster and UniversalFakeDetect; a draw deals the images out."""
  root = make_folder(
    {
      **{f"s/{name}/{n}.png": n for name in ("x", "y") for n in range(2)},
      **{f"s/RAISE/{n}.png": 9 + n for n in range(4)},
      **_pairs("own", above="train/"),
    }
  )
  away = {"test_root": f"{root}/s", "real": "raise"}
  test = opened(f"{root}/train", "test", **away)
  assert test.generator_names == ("x", "y")
  np.testing.assert_array_equal(test.labels, [0, 0, 0, 0, 1, 1] * 2)
  drawn = [
    opened(f"{root}/s", split, real="RAISE", test_fraction=0.5)
    for split in ("train", "test")
  ]
  real = [{n for _, label, n in _content(s) if not label} for s in drawn]
  assert [len(names) for names in real] == [2, 2]
  assert not real[0] & real[1]


@pytest.mark.parametrize(
  ("contents", "changes", "message"),
  [
    (
      {**_pairs("a"), "b/fake/1.png": 1},
      {"held_out": ("a",)},
      "generator 'b' in .* has no real image that can be read: add some in"
      " b/real, or name the folder",
    ),
    (
      {**_pairs("a"), "b/real/1.png": 1, "b/fake/1.png": b"broken"},
      {"held_out": ("a",)},
      "generator 'b' in .* has no generated image",
    ),
    (_pairs("a"), {}, "has a single generator, 'a', and none can be held out"),
    (
      {"real/1.png": 1, "AI/1.png": 2},
      {},
      "has a single generator, '/.*', and",
    ),
    ({"x/1.png": 1}, {"real": "x"}, "has a single generator, '/.*', and none"),
    (_pairs("a", "b"), {"held_out": ("z",)}, "held_out names 'z'; .* has a, b"),
    (_pairs("a", "b"), {"held_out": ("a", "b")}, "names all generators"),
    (_pairs("a", "b"), {"test_fraction": 0.0}, "leaves a split empty"),
    ({"a/1.png": 1}, {}, "has no folders of real and generated images: give"),
  ],
)
def test_bad_folders_end_with_a_line(
  make_folder, opened, contents, changes, message
):
  with pytest.raises(UserError, match=message) as error:
    opened(make_folder(contents), **changes)
  assert "\n" not in str(error.value)


def test_no_folder_ends_with_a_line(opened, tmp_path):
  for root, message in (
    ("", "no folder of images given"),
    (str(tmp_path / "gone"), "gone is no folder"),
  ):
    with pytest.raises(UserError, match=message):
      opened(root)


def test_images_beside_are_told(make_folder, opened, caplog):
  root = make_folder({**_pairs("a", "b"), "loose.png": 1})
  opened(root, held_out=("a",))
  assert "1 images in" in caplog.text
  assert "loose.png" in caplog.text
  assert generators.FOLDERS
