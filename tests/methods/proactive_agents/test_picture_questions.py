"""Questions about pictures: what is asked, how often, and of what."""

import jax
import numpy as np
import pytest

from protojax.agents import scenes
from protojax.agents import world as worlds
from protojax.agents.facts import Place
from protojax.agents.judge import FACTS
from protojax.methods.proactive_agents import asking, judging, network

SCENES = scenes.draw(200, seed=7)
TRUE = worlds.cells(SCENES)


def cell(entity, name, value, second=""):
  return worlds.cell(Place(entity, name, second), value)


@pytest.fixture(scope="module")
def drawn():
  keys = jax.random.split(jax.random.key(0), len(TRUE))
  draw = jax.jit(asking.drawn, static_argnums=2)
  return jax.device_get(draw(TRUE, keys, 100))


def test_a_cell_is_a_question_of_its_own():
  facts = network.PARTS[FACTS]
  assert len(np.unique(facts, axis=0)) == len(facts) == 207
  red = [cell(t, "colour", "red") for t in scenes.TYPES]
  assert len(set(network.PARTS[red, 2])) == 1
  assert set(network.PARTS[: len(scenes.TYPES), 2]) == {0}
  above = network.PARTS[cell("coin", "position", "above", "cat")]
  assert above[:2].tolist() == [
    scenes.TYPES.index("coin"),
    scenes.TYPES.index("cat"),
  ]
  assert network.PARTS.max() < network.WORDS
  words = network.PARTS[[cell("style", "style", "photo"), red[0], above[2]], 2]
  assert len(set(words)) == 3


def test_half_of_the_answers_are_yes_and_all_are_true(drawn):
  cells, yes = drawn
  np.testing.assert_array_equal(np.take_along_axis(TRUE, cells, 1), yes)
  assert FACTS[cells].all()
  several = SCENES.there.sum(1) > 1
  np.testing.assert_allclose(yes[several].mean(), 0.5, atol=0.02)
  kinds = np.bincount(asking.KIND[cells[several]].ravel()) / cells[several].size
  np.testing.assert_allclose(kinds, 0.25, atol=0.02)


def test_what_is_not_true_is_hard(drawn):
  """Most is of things that are there: another value, another position."""
  cells, yes = drawn
  needs = worlds.NEEDS[worlds.UNKNOWN[cells]]
  rows = np.arange(len(TRUE))[:, None]
  there = TRUE[rows, needs[..., 0]] & TRUE[rows, needs[..., 1]]
  hard = ~yes & (asking.KIND[cells] == 1)
  assert 0.5 < there[hard].mean() < 0.95


def test_a_picture_without_a_kind_of_question_is_asked_others(drawn):
  """One thing has no position, so that none is said to be true."""
  cells, yes = drawn
  alone = SCENES.there.sum(1) == 1
  assert alone.any()
  assert (asking.KIND[cells[alone]][yes[alone]] != 3).all()


def test_captions_are_altered_by_values_of_the_same_unknown():
  found = judging.altered(TRUE, seed=0)
  facts = TRUE & FACTS
  assert (found.sum(1) == facts.sum(1)).all()
  assert (found[::5] == facts[::5]).all()
  wrong = found & ~facts
  assert wrong[4::5].any(1).mean() > 0.9
  shares = wrong.sum(1) / facts.sum(1)
  np.testing.assert_allclose(shares[4::5].mean(), 0.5, atol=0.08)
  others = asking.KIND > 0
  for scene in range(4, len(TRUE), 5):
    unknowns = [set(worlds.UNKNOWN[x[scene] & others]) for x in (found, facts)]
    assert unknowns[0] == unknowns[1]


def test_likeness_is_the_f1_of_facts():
  found = judging.likeness(TRUE[:6], TRUE[:6])
  np.testing.assert_allclose(np.diag(found), 1, rtol=1e-6)
  one, other = TRUE[0] & FACTS, TRUE[1] & FACTS
  both = (one & other).sum()
  assert found[0, 1] == pytest.approx(2 * both / (one.sum() + other.sum()))


def test_scores_that_know_the_scene_go_with_the_oracle():
  found = judging.against_oracle(np.where(TRUE, 0.99, 0.01), TRUE, seed=0)
  assert found["oracle_product"] == 1
  assert found["oracle_recall"] == pytest.approx(1)
  assert found["oracle_geometric"] > 0.8
  blind = judging.against_oracle(np.full(TRUE.shape, 0.5), TRUE, seed=0)
  assert "oracle_recall" not in blind  # It does not vary.
