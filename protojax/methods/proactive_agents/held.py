"""A dialogue about one goal, with a simulated user, picture by picture."""

from collections.abc import Iterator
from typing import NamedTuple

from protojax.agents import facts as facts_lib
from protojax.agents import language, painting, scenes
from protojax.agents import world as worlds
from protojax.agents.dialogue import Dialogue
from protojax.agents.graph import Graph
from protojax.agents.judge import FACTS, Trained, scores
from protojax.agents.questions import Question
from protojax.agents.scenes import Scenes
from protojax.types import Picture


class Turn(NamedTuple):
  """One turn of it.

  Attributes:
    question: what was asked, "" at first.
    answer: of the user, or the first prompt.
    belief: after it.
    picture: painted of that belief.
    score: geometric VQAScore of the goal.
  """

  question: str
  answer: str
  belief: Graph
  picture: Picture
  score: float


def dialogue(
  trained: Trained, goal: Scenes, turns: int, seed: int
) -> Iterator[Turn]:
  """Asks by "ag1" until nothing is left, or so many questions were asked.

  Args:
    trained: beliefs, and the judge.
    goal: one scene.
    turns: questions at the most.
    seed: of the pictures.
  """
  things = scenes.graph_of(goal, 0)
  first = " and ".join(
    f"a {e.name}" for e in things.entities if e.kind != "background"
  )
  spoken = Dialogue(first, trained.grammar, "ag1", known=1.0, seed=seed)
  facts = worlds.cells(goal) & FACTS
  question, answer = "", first
  for number in range(turns + 1):
    (picture,) = spoken.generate(1, seed + number)
    p, _ = trained.judge.seen(picture[None])
    score = float(scores(p, facts).geometric[0])
    yield Turn(question, answer, spoken.belief, picture, score)
    asked = spoken.ask()
    if asked is None:
      return
    question, answer = asked.text, told(things, asked)
    spoken.answer(asked, answer)


def told(goal: Graph, question: Question) -> str:
  """The true answer of a user who wants this picture."""
  place = question.place
  for name in filter(None, (place.entity, place.second)):
    if goal.entity(name) is None:
      return f"no {name}" if place.name else "no"
  if not place.name:
    return "yes"
  value = facts_lib.require(goal, place).likeliest.name
  if question.value:
    return "yes" if question.value == value else "no"
  return language.said(place, value)


def picture_of(goal: Scenes) -> Picture:
  """The picture that the user wants."""
  return painting.paint(goal)[0]
