"""Blocks as the templates take them: numbers, paths and pictures."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
import pytest

from protojax.explain import blocks
from protojax.explain.picture_file import PictureFile
from protojax.report import block_drawing
from protojax.types import Box
from tests.explain import block_fakes


class _Store(dict):
  """Keeps pictures by name in place of files."""

  def __call__(self, name, picture):
    self[name] = picture
    return PictureFile(f"{name}.jpg", picture.shape[0], picture.size)


@pytest.fixture
def store():
  return _Store()


def _draw(block, store):
  drawn = block_drawing.draw(block, store, "key/0")
  return drawn.values


def test_a_picture_and_its_boxes(store):
  frame = blocks.Frame(Box(2, 4, 12, 20), "wing")
  picture = block_fakes.picture(20, 40, caption="A bird", boxes=(frame,))
  found = _draw(picture, store)
  assert_array_equal(store["key/0"], picture.image)
  assert found["alt"] == "A bird: wing"
  assert (found["height"], found["width"]) == (20, 40)
  (box,) = found["frames"]
  # Worked out by hand: shares of 40 columns and 20 rows.
  assert (box["left"], box["width"]) == ("10.00%", "40.00%")
  assert (box["top"], box["height"]) == ("10.00%", "50.00%")


def test_a_map_has_its_own_scale(store):
  values = np.array([[0.0, 2.0], [np.nan, 9.0]], np.float32)
  found = _draw(blocks.Map(values, 0.0, 2.0, unit="mm"), store)
  shown = store["key/0"]
  assert shown.shape == (256, 256, 3)
  blue, red = shown[0, 0], shown[0, -1]
  assert blue[2] > 0
  assert blue[0] == 0
  assert red[0] > 0
  assert red[2] == 0
  assert_array_equal(shown[-1, 0], [127, 127, 127])  # unknown
  assert_array_equal(shown[-1, -1], red)  # beyond the scale
  assert (found["low"], found["high"], found["unit"]) == ("0", "2", "mm")


def test_a_map_lies_over_its_picture(store):
  over = block_fakes.picture(16, 24)
  values = np.full((2, 3), np.nan, np.float32)
  found = _draw(blocks.Map(values, 0.0, 1.0, over=over), store)
  assert (found["file"].path, found["heat"].path) == (
    "key/0.jpg",
    "key/0-heat.jpg",
  )
  # Unknown places show the picture.
  assert_array_equal(store["key/0-heat"], over.image)
  _draw(blocks.Map(np.zeros((2, 3), np.float32), 0.0, 1.0, over=over), store)
  lowest = block_drawing.painted(
    blocks.Map(np.zeros((1, 1), np.float32), 0.0, 1.0)
  )[0, 0]
  expected = (over.image.astype(float) + lowest) / 2
  assert_allclose(store["key/0-heat"], expected, atol=0.5)
  assert_array_equal(store["key/0"], over.image)


def test_columns_of_numbers_are_set_to_the_right(store):
  table = blocks.Table(
    ("name", "points", "sure"),
    (("a", -1.5, True), ("b", None, False), ("c", 12345, None)),
  )
  found = _draw(table, store)
  assert found["columns"] == [
    ("name", False),
    ("points", True),
    ("sure", False),
  ]
  texts = [[text for text, _ in row] for row in found["rows"]]
  assert texts == [["a", "−1.5", "yes"], ["b", "–", "no"], ["c", "12,345", "–"]]
  assert _draw(blocks.Table(("a",), ()), store)["columns"] == [("a", False)]


def test_a_characteristic_is_told_with_its_direction_and_without_its_sides(
  store,
):
  names = "identity", "texture", "hue", "less texture", "more texture"
  names = *names, "hue forward", "hue back"
  rows = (0.0, 0.3, 0.1, 0.1, 0.3, 0.1, 0.0), (0, 0.2, None, 0.2, -0.1, None, 0)
  found = _draw(blocks.Table(("class", *names), (("a", *rows[0]),)), store)
  assert [n for n, _ in found["columns"]] == [
    "class",
    "identity",
    "texture",
    "hue",
  ]
  assert [t for t, _ in found["rows"][0]] == [
    "a",
    "0",
    "0.3, smoothness",
    "0.1",
  ]
  turned = blocks.Table(
    ("class", "characteristic", "x", "y", "images"),
    tuple(zip("aaaaaaa", names, *rows, [9] * len(names), strict=True)),
  )
  found = _draw(turned, store)
  assert [[t for t, _ in row] for row in found["rows"]] == [
    ["a", "identity", "0", "0", "9"],
    ["a", "texture", "0.3, smoothness", "0.2, grain", "9"],
    ["a", "hue", "0.1", "\N{EN DASH}", "9"],
  ]
  assert found["count"] == 3
  matrix = blocks.Matrix(("a",), names, np.array(rows[:1]))
  found = _draw(matrix, store)
  assert found["columns"] == ["identity", "texture", "hue"]
  assert [t for t, *_ in found["rows"][0][1]] == ["0", "0.3, smoothness", "0.1"]


def test_a_long_table_is_cut(store, monkeypatch):
  monkeypatch.setattr(block_drawing, "ROWS", 2)
  found = _draw(blocks.Table(("a",), ((1,), (2,), (3,))), store)
  assert (len(found["rows"]), found["count"]) == (2, 3)


def test_a_curve_fills_its_frame_and_breaks_where_unknown(store):
  x, y = np.arange(5.0), np.array([0.0, 2.0, np.nan, 1.0, np.nan])
  curve = blocks.Curve(
    (blocks.Series("a", x, y),), blocks.Axis("step"), blocks.Axis("loss", "nat")
  )
  found = _draw(curve, store)
  (line,) = found["lines"]
  # Of 5 points over 600, and values from 0 to 2 over 220.
  assert line["path"] == "M0.0 220.0L150.0 0.0M450.0 110.0"
  assert line["dots"] == [("450.0", "110.0")]
  assert line["description"] == "5 points, from 0 to 2"
  assert (found["x"], found["y"]) == ("step", "loss (nat)")
  assert (0.0, "0") in found["x_ticks"]
  assert (220.0, "0") in found["y_ticks"]


def test_no_two_lines_of_a_curve_look_alike(store):
  x = np.arange(2.0)
  series = tuple(blocks.Series(str(n), x, x + n) for n in range(36))
  axis = blocks.Axis("x")
  lines = _draw(blocks.Curve(series, axis, axis), store)["lines"]
  assert len({(line["number"], line["dash"]) for line in lines}) == 36


@pytest.mark.parametrize("values", [[], [np.nan], [3.0], [3.0, 3.0], [0.0]])
def test_curves_of_few_points(store, values):
  y = np.array(values, float)
  line = blocks.Series("a", np.arange(len(y)) * 1.0, y)
  axis = blocks.Axis("x")
  for series in ((line,), ()):
    found = _draw(blocks.Curve(series, axis, axis), store)
    assert "nan" not in str(found)


def test_cells_of_a_matrix_are_shaded_by_size(store):
  found = _draw(
    blocks.Matrix(("a",), ("b", "c", "d"), np.array([[1.0, -4.0, np.nan]])),
    store,
  )
  assert found["rows"] == [
    ("a", [("1", False, "25%"), ("−4", True, "100%"), ("–", False, "0%")])
  ]


def test_a_gallery_keeps_every_picture(store):
  pictures = tuple(block_fakes.picture(seed=n) for n in range(3))
  _draw(blocks.Gallery(pictures, "all"), store)
  assert list(store) == ["key/0-0", "key/0-1", "key/0-2"]


def test_a_title_without_its_subject_gets_it_in_lists(store):
  found = block_fakes.explanation(title="real, 97 %", subject="a.png")
  assert block_drawing.explanation(found, store)["label"] == "a.png: real, 97 %"
  found = block_fakes.explanation(title="A.png: real", subject="a.png")
  assert block_drawing.explanation(found, store)["label"] == "A.png: real"


def test_a_legend_is_a_gallery_of_small_pictures_of_one_colour(store):
  red = blocks.Picture(np.full((24, 24, 3), (200, 0, 0), np.uint8), "red")
  drawn = block_fakes.picture(20, 24)
  assert _draw(blocks.Gallery((red, red)), store)["colours"]
  assert not _draw(blocks.Gallery((red, drawn)), store)["colours"]
  large = blocks.Picture(red.image.repeat(2, axis=0), "red")
  assert not _draw(blocks.Gallery((large,)), store)["colours"]
