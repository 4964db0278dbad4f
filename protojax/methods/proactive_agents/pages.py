"""A special page of the report: a dialogue, with pictures and beliefs."""

from collections.abc import Iterator
import math
from pathlib import Path
from typing import Any

from markupsafe import Markup

from protojax.agents import scenes
from protojax.agents.graph import Entity, Graph
from protojax.explain import blocks
from protojax.methods.proactive_agents import held
from protojax.report.special_pages import Page
from protojax.types import State

# The goal of the page is drawn with a seed of its own.
_GOAL = 3_500_000
_MIDDLE, _RADIUS = 200, 145  # of the drawing, in its units
_SMALL, _LARGE = 8, 30  # radius of a thing


def pages(method: Any, state: State, workdir: Path) -> Iterator[Page]:
  """One page: what was asked and painted, and the beliefs at both ends."""
  del workdir
  trained = method.trained(state, "this run")
  goal = scenes.draw(1, _GOAL + method.config.seed)
  turns = list(
    held.dialogue(trained, goal, method.config.play.turns, method.config.seed)
  )
  painted = [
    blocks.Picture(
      turn.picture,
      f"{n}. {turn.question} {turn.answer}. VQAScore {turn.score:.2f}",
    )
    for n, turn in enumerate(turns)
  ]
  yield Page(
    "dialogue",
    "A dialogue",
    "An agent asks by importance and entropy, a simulated user answers, and"
    " after each answer a picture is painted. VQAScore is the geometric mean"
    " over the facts of the goal.",
    (
      blocks.Picture(held.picture_of(goal), "what the user wants"),
      blocks.Gallery(tuple(painted), "what is painted after each answer"),
    ),
    Markup("").join(
      Markup("<h2>{}</h2>{}").format(title, drawing(turn.belief))
      for title, turn in (
        ("What is believed at first", turns[0]),
        ("What is believed at the end", turns[-1]),
      )
    ),
  )


def drawing(belief: Graph) -> Markup:
  """A belief graph as SVG: things as large as they matter and are likely."""
  shown = [e for e in belief.entities if e.probability > 0]
  places = {
    e.name: (
      _MIDDLE + _RADIUS * math.sin(2 * math.pi * i / len(shown)),
      _MIDDLE - _RADIUS * math.cos(2 * math.pi * i / len(shown)),
    )
    for i, e in enumerate(shown)
  }
  lines = [
    _line(places[r.first], places[r.second], _likeliest(r))
    for r in belief.relations
    if {r.first, r.second} <= set(places)
  ]
  nodes = [_node(e, *places[e.name]) for e in shown]
  return Markup(
    '<svg viewBox="-60 -10 520 440" role="img" width="640"'
    ' font-size="9" fill="currentColor" stroke="none">'
    "<title>Belief graph</title>{}{}</svg>"
  ).format(Markup("").join(lines), Markup("").join(nodes))


def _likeliest(one: Any) -> str:
  best = one.likeliest
  return f"{best.name} {best.probability:.0%}"


def _node(entity: Entity, x: float, y: float) -> Markup:
  share = entity.importance * entity.probability
  radius = _SMALL + (_LARGE - _SMALL) * share
  named = f"{entity.name} {entity.probability:.0%}"
  texts = [named, *(_likeliest(a) for a in entity.attributes)]
  lines = Markup("").join(
    Markup('<tspan x="{:.1f}" dy="10">{}</tspan>').format(x, text)
    for text in texts
  )
  return Markup(
    '<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="none"'
    ' stroke="currentColor" stroke-opacity="{:.2f}"/>'
    '<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
  ).format(x, y, radius, 0.3 + 0.7 * entity.probability, x, y - 16, lines)


def _line(
  one: tuple[float, float], other: tuple[float, float], text: str
) -> Markup:
  (x, y), (u, v) = one, other
  return Markup(
    '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'
    ' stroke="currentColor" stroke-opacity="0.4"/>'
    '<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
  ).format(x, y, u, v, (x + u) / 2, (y + v) / 2, text)
