"""Pictures of self-play: they are painted of what was told, and scored."""

import numpy as np
import pytest

from protojax.agents import choices, painted, scenes
from protojax.agents import world as worlds
from protojax.agents.judge import FACTS, Judge, Trained
from protojax.agents.policies import NOTHING
from protojax.datasets.dialogue_pictures import paint

GRAMMAR = scenes.Grammar(scenes.draw(500, seed=0))
GOALS = scenes.draw(12, seed=1)
TRUE = worlds.cells(GOALS)
_E, _A, _R, _V = worlds.SIZES


def seen(cells):
  """A judge that is shown what scenes hold, and is never wrong."""
  vectors = (cells & FACTS).astype(float)
  return cells.astype(float), vectors / np.linalg.norm(
    vectors, axis=1, keepdims=True
  )


@pytest.fixture(scope="module")
def trained():
  return Trained(GRAMMAR, np.zeros(choices.FEATURES), Judge("exact", seen))


@pytest.fixture(scope="module")
def world():
  return worlds.world(GRAMMAR)


@pytest.fixture(scope="module")
def questions():
  """Of each goal the colour of its first thing, and then of the background."""
  first = GOALS.there.argmax(1)
  colour = _E + first * _A * _V
  background = np.full(len(first), _E + len(scenes.TYPES) * _A * _V)
  nothing = np.full(len(first), NOTHING)
  return np.stack([colour, background, nothing], 1).astype(np.int32)


def test_scenes_hold_what_was_told(trained, world, questions):
  found = painted.drawn(
    trained, world, GOALS, questions, (0, 1, 2, 3), 0, False
  )
  there = found.there.reshape(12, 4, -1)
  assert (there >= GOALS.there[:, None]).all()
  first, rows = GOALS.there.argmax(1), np.arange(12)
  colours = found.attributes.reshape(12, 4, -1, _A)[rows, :, first, 0]
  wanted = GOALS.attributes[rows, first, 0]
  assert (colours[:, 1:] == wanted[:, None]).all()
  assert (colours[:, 0] != wanted).any()
  grounds = found.whole.reshape(12, 4, -1)[..., 0]
  assert (grounds[:, 2:] == GOALS.whole[:, None, 0]).all()
  assert (grounds[:, :2] != GOALS.whole[:, None, 0]).any()


def test_scores_are_those_of_the_scenes(trained, world, questions, monkeypatch):
  """An exact judge finds the exact share of the facts."""
  monkeypatch.setattr(painted, "pictures", worlds.cells)
  found = painted.shown(trained, world, GOALS, questions, (0, 2))
  assert found.exact.shape == (12, 2)
  np.testing.assert_allclose(found.seen, found.exact)
  assert (found.exact > 0).all()
  assert found.exact[:, 1].mean() > found.exact[:, 0].mean()
  np.testing.assert_array_equal(found.product == 1, found.exact == 1)
  alike = painted.drawn(trained, world, GOALS, questions, (0, 2), 0, False)
  cells = (worlds.cells(alike) & FACTS).reshape(12, 2, -1)
  own = (TRUE & FACTS)[:, None]
  both = (cells & own).sum(-1)
  cosine = both / np.sqrt(cells.sum(-1) * own.sum(-1))
  np.testing.assert_allclose(found.likeness, cosine)


@pytest.mark.slow
def test_pictures_of_any_number_are_painted_in_parts(monkeypatch):
  pytest.importorskip("skimage", reason="needs the demo extra")
  monkeypatch.setattr(painted, "_PICTURES", 8)
  found = painted.pictures(GOALS)
  np.testing.assert_array_equal(found, paint(GOALS))
