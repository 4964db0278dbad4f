"""Bags as pictures, and the page on which they can be zoomed."""

import types

import numpy as np
import pytest

from protojax.methods.comel import explanation, mosaic, pages
from protojax.methods.comel.because import Because
from protojax.methods.comel.explanation import Bag
from protojax.modify import presets
from protojax.report import special_pages
from protojax.types import State

STATE = State({}, {}, {})
PLACES = np.float32([[512, 0], [0, 256], [256, 256]])


def test_places_make_a_grid():
  assert mosaic.cells(PLACES).tolist() == [[2, 0], [0, 1], [1, 1]]
  assert mosaic.cells(np.zeros((1, 2), np.float32)).tolist() == [[0, 0]]
  far = np.float32([[0, 0], [1, 0], [1e6, 0]])
  assert mosaic.cells(far).max() == 2000


def test_numbers_and_tiles_lie_where_their_instances_lie():
  cells = mosaic.cells(PLACES)
  found = mosaic.values(cells, np.float32([0.1, 0.2, 0.3]))
  expected = np.float32([[np.nan, np.nan, 0.1], [0.2, 0.3, np.nan]])
  np.testing.assert_array_equal(found, expected)
  tiles = np.zeros((3, 4, 4, 3), np.uint8) + np.uint8(
    [[[[9]]], [[[8]]], [[[7]]]]
  )
  picture = mosaic.picture(cells, tiles)
  assert picture.shape == (8, 12, 3)
  middles = picture[2::4, 2::4, 0]
  assert middles.tolist() == [[255, 255, 9], [8, 7, 255]]


def _bag(shown):
  p = np.float32([0.9, 0.0, 0.5])
  rows = {
    "instances": p,
    "attention": p / p.sum(),
    "q": np.float32([0.8, 0.1, 0.6]),
    "to_positive": p,
    "to_negative": 1 - p,
    "label": np.array([1, 0, 1]),
    "kept": np.array([True, True, False]),
    "logits": np.float32([0, 1]),
    "probabilities": np.float32([0.3, 0.7]),
  }
  given = {
    "vectors": np.zeros((3, 2), np.float32),
    "places": PLACES,
    "truth": np.float32([1, 0, -1]),
  }
  return Bag("<b>slide</b>", 4, 1, rows, given, shown)


def _tiles(rows):
  return np.full((len(rows), 4, 4, 3), 100, np.uint8)


@pytest.fixture
def method(monkeypatch):
  """A method whose one bag is made up."""
  shown = {"tiles": _tiles}
  for module in (pages, explanation):
    monkeypatch.setattr(
      module, "bags", lambda *arguments: iter([_bag(shown["tiles"])])
    )
  names = types.SimpleNamespace(class_names=("t: no", "t: yes"))
  method = types.SimpleNamespace(
    dataset=names, stream=lambda split: None, shown=shown
  )
  return method


def test_the_page_holds_tiles_and_escapes_names(method, tmp_path):
  (found,) = special_pages.checked(pages.pages(method, STATE, tmp_path))
  html = str(found.html)
  assert html.count('class="tile"') == 3
  assert "&lt;b&gt;slide&lt;/b&gt;</b>: t: yes, 70%" in html
  assert "<b>slide" not in html
  assert 'title="instance 0, p 0.900"' in html
  method.shown["tiles"] = lambda rows: None
  assert not list(pages.pages(method, STATE, tmp_path))


def test_without_pictures_there_is_no_because_and_it_is_said():
  bag, method = _bag(lambda rows: None), types.SimpleNamespace(network=None)
  unknown = Because(method, STATE, presets.load("contrast=0.5"), None)
  (note,) = explanation._because(bag, unknown)
  assert "hold no pictures" in note.text
  (note,) = explanation._because(_bag(_tiles), unknown)
  assert "What made the vectors of the pictures is not known" in note.text
  table = explanation._instances(_bag(_tiles))
  assert [row[0] for row in table.rows] == [0, 2, 1]
  # A label that is not kept, and one that is not known, are empty.
  assert table.rows[1][-2:] == (None, None)
