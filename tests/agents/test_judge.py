"""Scores of captions by a judge that answers for each cell."""

import numpy as np
import pytest

from protojax.agents import judge, scenes
from protojax.agents import world as worlds
from protojax.agents.facts import Place
from protojax.agents.judge import Judge
from protojax.types import UserError

IMAGES = np.zeros((3, 4, 4, 3), np.uint8)


def cell(entity, name, value, second=""):
  return worlds.cell(Place(entity, name, second), value)


@pytest.fixture
def probabilities():
  rng = np.random.default_rng(0)
  return rng.uniform(0.1, 0.9, (3, worlds.CELLS))


def judging(p):
  return Judge("a run", lambda images: (p[: len(images)], np.ones((3, 1))))


def test_a_caption_is_the_product_of_its_facts(probabilities):
  texts = [
    "a red coin",
    "no cat, black background",
    "a cup left of a wheel, the cup is not blue",
  ]
  coin, cup, wheel, cat = (
    scenes.TYPES.index(t) for t in ("coin", "cup", "wheel", "cat")
  )
  p = probabilities
  expected = [
    p[0, coin] * p[0, cell("coin", "colour", "red")],
    (1 - p[1, cat]) * p[1, cell("background", "background", "black")],
    p[2, cup]
    * p[2, wheel]
    * p[2, cell("cup", "position", "left of", "wheel")]
    * (1 - p[2, cell("cup", "colour", "blue")]),
  ]
  found = judging(p).p_yes(IMAGES, texts)
  np.testing.assert_allclose(found, expected, rtol=1e-12)
  with pytest.raises(UserError, match="'a dragon' says nothing"):
    judging(p).p_yes(IMAGES[:1], ["a dragon"])


def test_scores_of_facts(probabilities):
  facts = np.zeros((3, worlds.CELLS), bool)
  facts[0, [1, 20]] = facts[1, 5] = True
  found = judge.scores(probabilities, facts)
  p = probabilities
  np.testing.assert_allclose(found.product[:2], [p[0, 1] * p[0, 20], p[1, 5]])
  np.testing.assert_allclose(
    found.geometric[:2], [np.sqrt(p[0, 1] * p[0, 20]), p[1, 5]]
  )
  assert found.recall[1] == (p[1, 5] > 0.5)
  assert (found.product[2], found.recall[2]) == (1, 0)


def test_pictures_are_seen_in_parts_of_one_size():
  images = np.arange(150 * 3, dtype=np.uint8).reshape(150, 1, 1, 3)
  sizes = []

  def seen(part):
    sizes.append(len(part))
    return part[:, 0, 0, :1] * 2.0, part[:, 0, 0, 1:] * 1.0

  p, vectors = judge.in_parts(seen, images)
  assert sizes == [64, 64, 64]
  np.testing.assert_array_equal(p[:, 0], images[:, 0, 0, 0] * 2.0)
  np.testing.assert_array_equal(vectors, images[:, 0, 0, 1:])
