"""Faces: FERPlus as arrays, lists of other data sets, class maps."""

import json
from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest

from protojax.datasets import emotion_csv, emotions, ferplus
from protojax.types import UserError


class Data(SimpleNamespace):
  """The keys of `config.data` that these data sets read."""

  def __getitem__(self, name):
    return getattr(self, name)

  def get(self, name, otherwise=None):
    return getattr(self, name, otherwise)


def of(root, **more):
  return Data(root=str(root), train="train", test="test", class_map="", **more)


def arrays(root, images=None, labels=None, name="train"):
  rng = np.random.default_rng(0)
  given = rng.integers(0, 255, (5, 48, 48)) if images is None else images
  np.savez(
    root / f"{name}.npz",
    images=np.asarray(given, np.uint8) if images is None else images,
    labels=np.array([0, 1, 7, 3, 1]) if labels is None else labels,
  )


def test_ferplus_is_in_its_own_order_or_that_of_a_map(tmp_path):
  arrays(tmp_path)
  found = ferplus.load(of(tmp_path), "train", 0)
  assert found.class_names == emotions.NAMES
  np.testing.assert_array_equal(found.labels, [0, 1, 7, 3, 1])
  image = found[2]["image"]
  assert image.shape == (48, 48, 3)
  assert (image[..., 0] == image[..., 2]).all()
  # The map beside the arrays.
  turned = {str(7 - k): name for k, name in enumerate(emotions.NAMES)}
  (tmp_path / "class_map_ferplus.json").write_text(json.dumps(turned))
  found = ferplus.load(of(tmp_path), "train", 0)
  np.testing.assert_array_equal(found.labels, [7, 6, 0, 4, 6])


@pytest.mark.parametrize(
  ("images", "labels", "said"),
  [
    (np.zeros((5, 48, 48)), None, "float64 of shape"),
    (np.zeros((5, 48, 48, 4), np.uint8), None, "expected uint8"),
    (None, np.array([0, 1]), r"labels of .* are int64 of shape \(2,\)"),
    (None, np.array([0, 1, 8, 3, 1]), "class 8 is not in the class map"),
  ],
)
def test_other_arrays_are_refused(tmp_path, images, labels, said):
  arrays(tmp_path, images, labels)
  with pytest.raises(UserError, match=said):
    ferplus.load(of(tmp_path), "train", 0)


def test_no_arrays_are_refused(tmp_path):
  with pytest.raises(UserError, match=r"data\.root=DIR, with"):
    ferplus.load(of(""), "train", 0)
  with pytest.raises(UserError, match=r"test\.npz"):
    ferplus.load(of(tmp_path), "test", 0)
  np.savez(tmp_path / "train.npz", x=np.zeros(3))
  with pytest.raises(UserError, match="lacks images and labels; it has x"):
    ferplus.load(of(tmp_path), "train", 0)


@pytest.fixture
def faces(tmp_path):
  (tmp_path / "img").mkdir()
  for n in range(3):
    Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / "img" / f"{n}.png")
  return tmp_path


def written(root, text):
  (root / "test.csv").write_text(text)
  return emotion_csv.load(of(root), "test", 0)


@pytest.mark.parametrize("column", emotion_csv.PATHS)
def test_paths_have_many_names(faces, column):
  found = written(faces, f"{column},label_name\nimg/0.png,Happy\nimg/2.png,sad")
  assert found.class_names == emotions.NAMES
  np.testing.assert_array_equal(found.labels, [1, 3])
  assert found[1]["image"][0, 0, 0] == 2


@pytest.mark.parametrize("column", emotion_csv.NUMBERS)
def test_numbers_go_through_the_map(faces, column):
  numbers = {"anger": 0, "contempt": 1, "surprised": 6}
  (faces / "class_map_fer.json").write_text(json.dumps(numbers))
  found = written(faces, f"path,{column}\nimg/0.png,6\n{faces}/img/1.png,1")
  np.testing.assert_array_equal(found.labels, [2, 7])


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("path,label\n", "has no row"),
    ("picture,label\nimg/0.png,1", "has the columns picture, label; expected"),
    ("path,feeling\nimg/0.png,1", "expected one of label_id"),
    (
      "path,label\nimg/0.png,1\nimg/9.png,1\n/img/8.png,0",
      r"2 of 3 paths in .* lead nowhere, such as 'img/9.png'",
    ),
    ("path,label\nimg/0.png,happy", "line 2: label is 'happy'"),
    ("path,label\nimg/0.png,-1", "which is no number"),
    ("path,label\nimg/0.png,9", "class 9 is not in the class map"),
    ("path,label_str\nimg/0.png,calm", "'calm' is none of neutral"),
    ("path,label\nimg/0.png,", "line 2: label is empty"),
  ],
)
def test_lists_that_cannot_be_read_are_refused(faces, text, said):
  """The paper's evaluation dropped rows whose path led nowhere."""
  with pytest.raises(UserError, match=said):
    written(faces, text)


@pytest.mark.parametrize(
  ("content", "said"),
  [
    ({"zero": "neutral"}, "is no number and name"),
    ({"0": "neutral", "00": "anger"}, "names two classes 0"),
    ({"0": "boredom"}, "'boredom' is none of"),
    ([1], "map.json"),
  ],
)
def test_maps_that_are_none_are_refused(tmp_path, content, said):
  path = tmp_path / "map.json"
  path.write_text(json.dumps(content))
  with pytest.raises(UserError, match=said):
    emotions.class_map(str(path))


def test_a_map_may_be_turned_round(tmp_path):
  path = tmp_path / "map.json"
  for content in ({"2": "happy", "0": "fear"}, {"happiness": 2, "Afraid": 0}):
    path.write_text(json.dumps(content))
    assert emotions.class_map(str(path)) == {2: 1, 0: 6}
