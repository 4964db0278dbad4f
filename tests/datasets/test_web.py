"""Web images beside few-shot images: folders, lists, embedded digits."""

from ml_collections import ConfigDict
import numpy as np
from PIL import Image
import pytest

from protojax.datasets import digit_web, image_lists, web_folder, web_lists
from protojax.types import UserError


@pytest.fixture
def root(tmp_path):
  """Two classes: 3 web images and 4 clean ones of each."""
  for folder, count in (("web", 3), ("clean", 4)):
    for k, name in enumerate(("ant", "bee")):
      place = tmp_path / folder / name
      place.mkdir(parents=True)
      for i in range(count):
        grey = np.full((8, 8, 3), 40 * k + i, np.uint8)
        Image.fromarray(grey).save(place / f"{folder}{i}.png")
  return tmp_path


def _data(root, **changes):
  keys = {
    "root": str(root),
    "train": "web",
    "test": "test",
    "clean": "clean",
    "clean_list": "",
    "shots": 1,
    "test_root": "",
    "names": "",
  }
  return ConfigDict({**keys, **changes})


def test_a_few_clean_images_guide_and_the_others_are_tested_on(root):
  train = web_folder.load(_data(root, shots=3), "train", 0)
  test = web_folder.load(_data(root, shots=3), "test", 0)
  assert train.class_names == ("ant", "bee")
  np.testing.assert_array_equal(train.trusted, [False] * 6 + [True] * 6)
  np.testing.assert_array_equal(np.bincount(train.labels), [6, 6])
  assert len(test) == 2
  assert not set(test.names) & set(train.names)
  assert train[0]["image"].shape == (8, 8, 3)
  # A draw of more has that of fewer.
  fewer = web_folder.load(_data(root), "train", 0)
  assert set(fewer.names) < set(train.names)
  assert web_folder.load(_data(root, shots=0), "train", 0).trusted.sum() == 0


def test_the_truth_of_web_images_can_be_told(root):
  assert web_folder.load(_data(root), "train", 0).truth is None
  path = root / "truth.csv"
  path.write_text(
    "image,truth\nweb/ant/web0.png,bee\nweb/bee/web2.png,\n"
    "web/ant/web1.png,ant\n"
  )
  train = web_folder.load(_data(root), "train", 0)
  np.testing.assert_array_equal(train.truth, [1, 0, -2, -2, -2, -1, 0, 1])
  for line, message in (
    ("web/ant/9.png,ant", "line 2: no web image is 'web/ant/9.png'"),
    ("web/ant/web0.png,wasp", "line 2: there is no class 'wasp'"),
  ):
    path.write_text(f"image,truth\n{line}\n")
    with pytest.raises(UserError, match=message):
      web_folder.load(_data(root), "train", 0)


def test_a_folder_of_test_images_is_tested_on(root):
  for name in ("ant", "bee"):
    place = root / "test" / name
    place.mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(place / "t.png")
  assert len(web_folder.load(_data(root, shots=4), "test", 0)) == 2


def test_few_shot_images_can_be_listed(root):
  path = root / "few.txt"
  path.write_text("ant/clean0.png@ant\nbee/clean3.png@bee\n")
  train = web_folder.load(_data(root, clean_list=str(path)), "train", 0)
  assert [n for n, t in zip(train.names, train.trusted, strict=True) if t] == [
    "clean/ant/clean0.png",
    "clean/bee/clean3.png",
  ]
  path.write_text("ant/clean0.png@wasp\n")
  with pytest.raises(UserError, match=r"clean0\.png is of the class 'wasp'"):
    web_folder.load(_data(root, clean_list=str(path)), "train", 0)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"root": ""}, "no folder of images given: set --config.data.root"),
    ({"train": "net"}, "net is no folder: expected net/<class>/"),
    ({"clean": "real"}, "real is no folder of clean images: add it, name"),
    ({"shots": 4}, "no clean image is left to test on: add test/<class>"),
  ],
)
def test_folders_that_are_not_there_are_named(root, changes, message):
  data = _data(root, **changes) if "root" not in changes else _data("")
  with pytest.raises(UserError, match=message):
    web_folder.load(data, "test", 0)


def test_classes_must_be_the_same(root):
  (root / "clean" / "wasp").mkdir()
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
    root / "clean" / "wasp" / "1.png"
  )
  with pytest.raises(UserError, match="differ: wasp is in one of them alone"):
    web_folder.load(_data(root), "train", 0)


def test_lists_have_the_forms_of_web_data(tmp_path):
  path = tmp_path / "list.txt"
  path.write_text(
    'google/1.jpg 3\nq/a b.jpg {"label": 0, "sample_weight": 1.5}\n'
    "x/y.jpg@ant\n"
  )
  assert image_lists.read(str(path)) == [
    ("google/1.jpg", 3, "", 0.0),
    ("q/a b.jpg", 0, "", 1.5),
    ("x/y.jpg", -1, "ant", 0.0),
  ]
  for text, message in (
    ("", "lists no image"),
    ("a.jpg\n", "line 1: 'a.jpg'; expected an image and its class"),
    ('a.jpg {"label": "x"}\n', "line 1 .*expected an image and its class"),
  ):
    path.write_text(text)
    with pytest.raises(UserError, match=message):
      image_lists.read(str(path))


def test_web_vision_is_read_by_lists(root):
  lines = {
    "train.txt": 'web/ant/web0.png {"label": 0, "sample_weight": 0.5}\n'
    'web/bee/web1.png {"label": 1, "sample_weight": 2.0}\n',
    "test.txt": "bee/clean1.png 1\n",
    "few.txt": "ant/clean2.png 0\nbee/clean2.png 1\nbee/clean3.png 1\n",
    "names.txt": "n01 ant\nn02 bee\n",
  }
  for name, text in lines.items():
    (root / name).write_text(text)
  data = _data(
    root,
    train=str(root / "train.txt"),
    test=str(root / "test.txt"),
    test_root=str(root / "clean"),
    clean=str(root / "clean"),
    clean_list=str(root / "few.txt"),
    names=str(root / "names.txt"),
  )
  train, test = (web_lists.load(data, s, 0) for s in ("train", "test"))
  assert train.class_names == ("n01 ant", "n02 bee")
  np.testing.assert_array_equal(train.trusted, [False, False, True, True])
  np.testing.assert_array_equal(train.labels, [0, 1, 0, 1])
  np.testing.assert_allclose(train.class_weights, [0.5, 2.0])
  assert test.names == ("bee/clean1.png",)
  assert train[2]["image"].shape == (8, 8, 3)


def _digits(**changes):
  known = {"root": "", "shots": 2, "flipped": 0.3, "outliers": 0.15, "web": 0}
  return ConfigDict({**known, **changes})


def test_digits_of_the_web_have_known_noise():
  train = digit_web.load(_digits(), "train", 0)
  test = digit_web.load(_digits(), "test", 0)
  web = ~train.trusted
  np.testing.assert_array_equal(np.bincount(train.labels[~web]), [2] * 10)
  outliers = web & (train.truth == digit_web.OUTLIER)
  flipped = web & ~outliers & (train.truth != train.labels)
  assert outliers.sum() / web.sum() == pytest.approx(0.15, abs=0.005)
  assert flipped.sum() / (web & ~outliers).sum() == pytest.approx(0.3, abs=0.01)
  np.testing.assert_array_equal(
    train.labels[flipped], (train.truth[flipped] + 1) % 10
  )
  np.testing.assert_array_equal(test.truth, test.labels)
  assert not set(test.names) & set(train.names)
  # More few-shot images change neither the web nor what is tested on.
  more = digit_web.load(_digits(shots=16), "train", 0)
  np.testing.assert_array_equal(more.images[: web.sum()], train.images[web])
  assert digit_web.load(_digits(shots=16), "test", 0).names == test.names
  assert digit_web.load(_digits(), "train", 1).names != train.names
  with pytest.raises(UserError, match=r"data\.shots is 17; it must"):
    digit_web.load(_digits(shots=17), "train", 0)
