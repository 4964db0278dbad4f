import csv

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
import pytest

from protojax.data import concepts, splits
from protojax.data.places import holds
from protojax.datasets import boxes
from protojax.types import UserError

COLUMNS = ("filename", "cell_type", "xmin", "xmax", "ymin", "ymax")


@pytest.fixture
def root(tmp_path):
  """Four photographs of 60 x 40 pixels; the first has three boxes."""
  (tmp_path / "images").mkdir()
  for i in range(4):
    pixels = np.full((40, 60, 3), 40 * i, np.uint8)
    pixels[:, :20] += 5
    Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
  rows = [
    ("0.png", "red", 0, 10, 0, 10),  # left above
    ("0.png", "white", 15, 25, 30, 40),  # across the border of two windows
    ("0.png", "white", 50, 60, 0, 10),
    ("1.png", "red", 30, 30, 0, 10),  # no width
    ("gone.png", "red", 0, 5, 0, 5),
  ]
  write(tmp_path, rows)
  return tmp_path


def write(root, rows, columns=COLUMNS):
  with (root / "boxes.csv").open("w", newline="") as file:
    csv.writer(file).writerows([columns, *rows])


def opened(root, split="train", **changes):
  settings = {
    "concepts": ("white", "red"),
    "task": ("white", "red"),
    "side": 20,
    **changes,
  }
  return boxes.opened(str(root), split, **settings)


def of_photograph(source, name):
  rows = [i for i, w in enumerate(source.windows) if w.photograph == name]
  return {source.name(i).split(" at ")[1]: i for i in rows}


def whole(root, **changes):
  """The split that has the first photograph."""
  both = (opened(root, s, **changes) for s in ("train", "test"))
  return next(s for s in both if of_photograph(s, "0.png"))


def test_windows_cover_a_photograph_evenly(root):
  source = whole(root)
  names = set(of_photograph(source, "0.png"))
  assert names == {f"{x},{y}" for x in (0, 20, 40) for y in (0, 20)}
  image = source[of_photograph(source, "0.png")["0,20"]]["image"]
  assert image.shape == (20, 20, 3)
  assert_array_equal(image, np.full((20, 20, 3), 5))


def test_windows_overlap_where_they_do_not_fit(root):
  names = set(of_photograph(whole(root, side=35), "0.png"))
  assert names == {f"{x},{y}" for x in (0, 25) for y in (0, 5)}


def test_a_window_shows_what_is_visible_enough(root, monkeypatch):
  rows = of_photograph(source := whole(root), "0.png")
  shown = {name: source.concepts[i].tolist() for name, i in rows.items()}
  # Half of the box across the border is in each window.
  assert shown["0,0"] == [False, True]
  assert shown["0,20"] == shown["20,20"] == [True, False]
  assert shown["40,0"] == [True, False]
  assert shown["20,0"] == [False, False]
  monkeypatch.setattr(boxes, "_VISIBLE", 0.6)
  strict = whole(root)
  assert not strict.concepts[rows["0,20"]].any()
  # Not shown enough, but still there to be pointed at.
  assert len(strict.places(rows["0,20"]).boxes) == 1


def test_classes_are_the_first_of_the_task(root):
  source = whole(root)
  rows = of_photograph(source, "0.png")
  assert source.class_names == ("white", "red", boxes.OTHER)
  labels = {name: int(source.labels[i]) for name, i in rows.items()}
  assert labels["0,20"] == 0
  assert labels["0,0"] == 1
  assert labels["20,0"] == 2


def test_boxes_are_shares_of_the_window(root):
  source = whole(root)
  rows = of_photograph(source, "0.png")
  found = concepts.places(source, rows["0,20"])
  assert_array_equal(found.concepts, [0])
  # Rows 30 to 40 of 20 to 40, columns 15 to 20 of 0 to 20.
  assert_allclose(found.boxes, [[0.5, 0.75, 1, 1]])
  assert holds(found.of(0), 0.75, 0.9)
  assert not holds(found.of(0), 0.75, 0.5)
  assert not holds(found.of(1), 0.75, 0.9)


def test_photographs_are_divided_not_windows(root):
  split = [
    {w.photograph for w in opened(root, split).windows}
    for split in ("train", "test")
  ]
  assert split[0].isdisjoint(split[1])
  assert split[0] | split[1] == {"0.png", "1.png", "2.png", "3.png"}


def test_what_is_of_no_use_is_named(root):
  (root / "images" / "3.png").write_bytes(b"no image")
  skipped = dict(opened(root).skipped)
  assert skipped["boxes.csv, line 5"] == "its box has no area"
  assert skipped["gone.png"] == "it has boxes, but is not in images/"
  assert "3.png" in skipped


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"concepts": ("white", "blue")}, "choose from red, white"),
    ({"task": ("blue",)}, "--config.data.task is blue; choose from red, white"),
    ({"task": ()}, "--config.data.task is empty"),
    ({"test_fraction": 1.0}, "test_fraction=1.0 leaves a split empty"),
  ],
)
def test_wrong_settings_get_one_line(root, changes, message):
  with pytest.raises(UserError, match=message):
    opened(root, **changes)


def test_wrong_lists_get_one_line(root):
  write(root, [], COLUMNS[:-1])
  with pytest.raises(UserError, match="has the columns filename, cell_type"):
    opened(root)
  (root / "boxes.csv").unlink()
  with pytest.raises(UserError, match="takes a folder with images/"):
    opened(root)
  with pytest.raises(UserError, match="no folder of images given"):
    opened("")


def test_subsets_keep_their_concepts(root):
  source = whole(root)
  train, held = splits.divided(source, 0.5, 0)
  for some in (train, held):
    assert concepts.names(some) == ("white", "red")
    assert_array_equal(concepts.present(some), source.concepts[some.rows])
    for i, row in enumerate(some.rows):
      assert_array_equal(
        concepts.places(some, i).boxes, source.places(int(row)).boxes
      )


def test_without_concepts_each_class_is_one(array_source):
  source = array_source(6)
  assert concepts.names(source) == source.class_names
  assert_array_equal(
    concepts.present(source), np.eye(3, dtype=bool)[[0, 1, 2] * 2]
  )
  assert concepts.places(source, 0) is None
