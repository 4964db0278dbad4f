"""Belief graphs: their JSON, edits and facts, and how probable a goal is."""

import json
import math

import numpy as np
import pytest

from protojax.agents import editing, facts, likelihood
from protojax.agents import graph as graphs
from protojax.agents.facts import Place
from protojax.agents.graph import Attribute, Candidate, Entity, Graph, Relation
from protojax.agents.history import History, State
from protojax.types import UserError
from tests.agents.agent_graphs import drawn, rabbit

COLOUR = Place("rabbit", "colour")
TREE = Place("tree")
SIDE = Place("rabbit", "place", "tree")


def sums(graph):
  """Of the probabilities of every unknown."""
  every = [facts.require(graph, p).candidates for p in facts.places(graph)]
  return [sum(c.probability for c in some) for some in every]


@pytest.mark.parametrize("seed", range(8))
def test_json_goes_round(seed):
  graph = drawn(seed)
  text = json.dumps(graphs.to_json(graph))
  found = graphs.from_json(text)
  assert graphs.from_json(json.dumps(graphs.to_json(found))) == found
  for place in facts.places(graph):
    one, two = facts.require(graph, place), facts.require(found, place)
    assert (one.name, one.importance, one.pinned) == (
      *(two.name, two.importance, two.pinned),
    )
    np.testing.assert_allclose(
      [c.probability for c in one.candidates],
      [c.probability for c in two.candidates],
      rtol=1e-12,
    )


def test_json_has_the_keys_of_the_authors_code():
  """Those that its `load_from_json` asks for, at every level."""
  found = graphs.to_json(rabbit())
  assert set(found) == {"all_entities", "all_relations", "prompt"}
  entity, (relation,) = found["all_entities"][0], found["all_relations"]
  assert set(entity) == {
    *("name", "importance_score", "attributes", "descriptions"),
    *("entity_type", "probability"),
  }
  attribute = entity["attributes"][0]
  assert set(attribute) == {"name", "value", "importance_score"}
  assert attribute["value"][0] == {"name": "white", "probability": 0.5}
  assert set(relation) == set(attribute) | {
    *("name_entity_1", "name_entity_2", "is_bidirectional", "description")
  }


def test_what_the_authors_code_leaves_unnormalised_sums_to_1():
  found = graphs.to_json(rabbit())
  found["all_relations"][0]["value"] = [
    {"name": "left of", "probability": 1},
    {"name": "right of", "probability": 3},
  ]
  found["all_entities"][0]["importance_score"] = 1
  graph = graphs.from_json(json.dumps(found))
  assert graph.relations[0].probability("right of") == 0.75
  np.testing.assert_allclose(sums(graph), 1)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda x: x.pop("prompt"), "prompt"),
    (lambda x: x["all_entities"][0].update(importance_score="high"), "number"),
    (
      lambda x: x["all_entities"][0].update(importance_score=2),
      "is 2, not from",
    ),
    (lambda x: x["all_entities"][0].update(entity_type="ghost"), "'ghost'"),
    (
      lambda x: x["all_entities"].append(x["all_entities"][0]),
      "'rabbit' is twi",
    ),
    (
      lambda x: x["all_entities"][0]["attributes"][0].update(value=[]),
      "none s",
    ),
    (
      lambda x: x["all_entities"][0]["attributes"][0]["value"][0].update(
        probability=-1
      ),
      "probability of 'white' is -1: 0 is the least",
    ),
    (
      lambda x: x["all_relations"][0].update(name_entity_2="bush"),
      "is of 'bush', which is no entity; there are: 'rabbit', 'tree', 'weat",
    ),
    (
      lambda x: x["all_relations"].append(x["all_relations"][0]),
      "'place' twice",
    ),
  ],
)
def test_json_that_is_no_graph_is_told(change, message):
  found = graphs.to_json(rabbit())
  change(found)
  with pytest.raises(UserError, match=message):
    graphs.from_json(json.dumps(found))


EDITS = {
  "probability": (editing.set_probability, COLOUR, "white", 0.9),
  "new candidate": (editing.set_probability, COLOUR, "black", 0.2),
  "appearance": (editing.set_probability, TREE, "yes", 0.1),
  "of a relation": (editing.set_probability, SIDE, "Left  of", 0.0),
  "value": (facts.pin, COLOUR, "green"),
  "no": (facts.answer_yes_or_no, COLOUR, "white", False),
  "no candidate": (editing.remove_candidate, COLOUR, "brown"),
  "importance": (editing.set_importance, SIDE, 0.9),
  "importance of an entity": (editing.set_importance, TREE, 0.9),
  "entity": (editing.add_entity, Entity("moon", 0.5)),
  "attribute": (
    editing.add_attribute,
    "tree",
    editing.sure("height", 0.5, "tall"),
  ),
  "relation": (
    editing.add_relation,
    Relation(
      "near", 0.1, (Candidate("yes", 1.0),), first="tree", second="rabbit"
    ),
  ),
  "no attribute": (editing.remove, COLOUR),
  "no relation": (editing.remove, SIDE),
  "no entity": (editing.remove, TREE),
  "name": (editing.rename, "tree", "oak"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_leaves_the_graph_before_it_as_it_was(name):
  edit, *arguments = EDITS[name]
  graph = rabbit()
  found = edit(graph, *arguments)
  assert found != rabbit()
  assert graph == rabbit()
  np.testing.assert_allclose(sums(found), 1, rtol=1e-12)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_is_taken_back_is_none(name):
  edit, *arguments = EDITS[name]
  spoken = History(State(belief=rabbit()))
  spoken.edit(edit, *arguments)
  assert spoken.belief == edit(rabbit(), *arguments)
  spoken.undo()
  assert spoken.belief == rabbit()


def test_edits_do_what_they_say():
  graph = editing.set_probability(rabbit(), COLOUR, "black", 0.2)
  colour = facts.require(graph, COLOUR)
  assert colour.pinned
  found = [(c.name, c.probability) for c in colour.candidates]
  assert [n for n, _ in found] == ["white", "brown", "black"]
  np.testing.assert_allclose([p for _, p in found], [0.4, 0.4, 0.2])
  graph = editing.rename(graph, "TREE", "oak")
  assert graph.relations[0].second == "oak"
  graph = editing.remove(graph, Place("oak"))
  assert not graph.relations
  assert [e.name for e in graph.entities] == ["rabbit", "weather"]
  # All others had 0: they share the rest.
  sure = facts.pin(rabbit(), COLOUR, "white")
  sure = editing.set_probability(sure, COLOUR, "brown", 0.0)
  sure = editing.set_probability(sure, COLOUR, "white", 0.5)
  assert facts.require(sure, COLOUR).probability("brown") == 0.5


@pytest.mark.parametrize(
  ("edit", "message"),
  [
    (
      lambda g: editing.set_probability(g, COLOUR, "white", -0.1),
      "-0.1, not f",
    ),
    (lambda g: editing.set_probability(g, COLOUR, "white", math.nan), "is nan"),
    (
      lambda g: editing.set_probability(
        g, Place("rabbit", "size"), "small", 0.5
      ),
      "only candidate for 'size' of 'rabbit",
    ),
    (lambda g: editing.set_importance(g, TREE, 1.5), "is 1.5, not from 0 to 1"),
    (
      lambda g: editing.set_importance(g, Place("bush"), 0.5),
      "no entity 'bush'",
    ),
    (
      lambda g: facts.pin(g, Place("tree", "age"), "old"),
      "no attribute 'age'; it",
    ),
    (lambda g: facts.pin(g, TREE, "maybe"), "'maybe' does not say whet"),
    (
      lambda g: facts.pin(g, SIDE._replace(name="x"), "a"),
      "have no relation 'x'",
    ),
    (lambda g: editing.add_entity(g, Entity("Rabbit ", 1.0)), "is twice among"),
    (lambda g: editing.rename(g, "tree", "rabbit"), "twice among the entities"),
    (
      lambda g: editing.remove_candidate(g, COLOUR, "red"),
      "'red' is no candidate",
    ),
    (
      lambda g: facts.answer_yes_or_no(
        g, Place("rabbit", "size"), "small", False
      ),
      "only candidate",
    ),
  ],
)
def test_edits_that_cannot_be_are_refused_and_nothing_is_lost(edit, message):
  graph = rabbit()
  with pytest.raises(UserError, match=message):
    edit(graph)
  assert graph == rabbit()


@pytest.mark.parametrize("probabilities", [(0.5, 0.6), (-0.5, 1.5)])
def test_probabilities_sum_to_1_or_there_is_no_attribute(probabilities):
  some = tuple(Candidate(str(p), p) for p in probabilities)
  with pytest.raises(UserError, match="not"):
    Attribute("colour", 1.0, some)


@pytest.mark.parametrize("seed", range(10))
def test_no_is_bayes_rule(seed):
  """P(value | not another one), from the definition."""
  rng = np.random.default_rng(seed)
  p = rng.dirichlet(np.ones(4))
  some = graphs.normalised((str(i), float(x)) for i, x in enumerate(p))
  graph = Graph((Entity("a", 1.0, (Attribute("b", 1.0, some),)),))
  place = Place("a", "b")
  found = facts.answer_yes_or_no(graph, place, "2", yes=False)
  for i in range(4):
    expected = 0.0 if i == 2 else p[i] / (1 - p[2])
    np.testing.assert_allclose(
      facts.require(found, place).probability(str(i)), expected
    )
  sure = facts.answer_yes_or_no(graph, place, "2", yes=True)
  assert facts.require(sure, place).probability("2") == 1


def test_facts_survive_another_parse():
  """Also those that the parse has no place for."""
  graph = rabbit()
  for place, value in (
    (COLOUR, "green"),
    (TREE, "yes"),
    (Place("tree", "kind"), "fir"),
    (SIDE, "left of"),
    (Place("weather"), "no"),
  ):
    graph = facts.pin(graph, place, value)
  parsed = Graph((Entity("Rabbit", 0.9), Entity("weather", 0.5)), (), "a hare")
  found = facts.remember(parsed, graph)
  assert found.prompt == "a hare"
  for place in facts.places(graph):
    fact = facts.require(graph, place)
    if fact.pinned:
      again = facts.require(found, place)
      assert again.pinned
      assert again.candidates == fact.candidates
  tree = found.entity("tree")
  assert tree.kind == "asked but forgotten"
  assert found.entity("weather").probability == 0
  assert found.entity("rabbit").importance == 0.9
  # What was only believed is what the parse believes.
  assert found.entity("rabbit").attribute("size") is None
  assert facts.remember(found, graph) == found


def goal():
  graph = facts.pin(rabbit(), COLOUR, "brown")
  graph = facts.pin(graph, TREE, "yes")
  graph = facts.pin(graph, Place("tree", "kind"), "oak")
  graph = facts.pin(graph, SIDE, "left of")
  return facts.pin(graph, Place("weather", "weather"), "rain")


def test_likelihood_of_a_goal_in_closed_form():
  found = likelihood.negative_log(goal(), rabbit())
  expected = (
    -1.0 * 0.8 * math.log(0.5)  # colour
    - 0.6 * math.log(0.5)  # a tree
    - 0.6 * 1.0 * math.log(0.25)  # its kind
    - 0.4 * 0.5 * math.log(0.1)  # weather
    - 0.3 * math.log(0.4)
  )
  np.testing.assert_allclose(found.value, expected)
  plain = likelihood.negative_log(goal(), rabbit(), weighted=False)
  numbers = 0.5, 0.5, 0.25, 0.1, 0.4
  np.testing.assert_allclose(plain.value, -sum(map(math.log, numbers)))
  assert found.unmatched == plain.unmatched == 0
  missing = editing.remove(rabbit(), Place("tree", "kind"))
  found = likelihood.negative_log(goal(), missing, weighted=False)
  assert found.unmatched == 1
  np.testing.assert_allclose(
    found.value, plain.value + math.log(0.25) - math.log(1e-10)
  )
  with pytest.raises(UserError, match="not certain of 'rabbit colour'"):
    likelihood.negative_log(rabbit(), rabbit())


@pytest.mark.parametrize("seed", range(4))
def test_a_true_answer_lowers_it_by_what_the_fact_weighs(seed):
  """By w (-log p) exactly, and to 0 when all are told."""
  belief = drawn(seed)
  truth = belief
  for place in facts.places(belief):
    value = facts.require(belief, place).candidates[0].name
    truth = facts.pin(truth, place, value)
  now = likelihood.negative_log(truth, belief).value
  for place in facts.places(belief):
    known = facts.require(belief, place)
    value = known.candidates[0]
    weight = known.importance
    if place.name and not place.second:
      weight *= belief.entity(place.entity).importance
    belief = facts.pin(belief, place, value.name)
    after = likelihood.negative_log(truth, belief).value
    np.testing.assert_allclose(
      after, now + weight * math.log(value.probability), atol=1e-9
    )
    assert after <= now + 1e-9
    now = after
  assert now == 0


def test_a_graph_is_drawn_as_likely_as_it_is():
  rng, belief = np.random.default_rng(0), rabbit()
  drawn = [likelihood.sampled(belief, rng) for _ in range(50)]
  for one in drawn[:5]:
    assert likelihood.negative_log(one, one).value == 0
    assert (one.entity("tree") is None) == (not one.relations)

  def share(place, value):
    found = [facts.unknown(one, place) for one in drawn]
    return np.mean([one.probability(value) for one in found if one])

  for place, value, p in (
    (COLOUR, "white", 0.5),
    (Place("tree", "kind"), "oak", 0.25),
    (SIDE, "left of", 0.4),
    (Place("rabbit", "size"), "small", 1.0),
  ):
    np.testing.assert_allclose(share(place, value), p, atol=0.2)
  there = np.mean([one.entity("tree") is not None for one in drawn])
  np.testing.assert_allclose(there, 0.5, atol=0.2)


def test_the_likeliest_graph_is_certain():
  graph = facts.answer_yes_or_no(rabbit(), TREE, "yes", yes=False)
  found = likelihood.likeliest(graph)
  assert [e.name for e in found.entities] == ["rabbit", "weather"]
  assert not found.relations
  assert likelihood.negative_log(found, found).value == 0
  likely = likelihood.likeliest(rabbit(), least=0.7)
  assert [a.name for a in likely.entity("rabbit").attributes] == ["size"]
  assert not likely.relations
  assert likely.entity("tree").attribute("kind").likeliest.name == "fir"
