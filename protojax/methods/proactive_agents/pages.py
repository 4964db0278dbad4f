"""A special page of the report: a dialogue, with pictures and beliefs."""

from collections.abc import Iterator
import math
from pathlib import Path
from typing import Any

from markupsafe import Markup

from protojax.agents import scenes
from protojax.agents.graph import Attribute, Entity, Graph
from protojax.explain import blocks
from protojax.methods.proactive_agents import held
from protojax.report.special_pages import Page
from protojax.types import State

# The goal of the page is drawn with a seed of its own.
_GOAL = 3_500_000
# Of the drawing, in its units: the ring, the radius of a thing, and texts.
_RING, _SMALL, _LARGE, _GAP, _LEADING = 150.0, 6.0, 30.0, 5.0, 12.0
_ALONG = (0.4, 0.55, 0.3, 0.65)


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
      f"{n}. {turn.question} {turn.answer}. VQAScore {turn.score:.2f}".strip(),
    )
    for n, turn in enumerate(turns)
  ]
  wanted = blocks.Picture(held.picture_of(goal), "What the user wants.")
  yield Page(
    "dialogue",
    "A dialogue",
    "An agent asks by importance and entropy, a simulated user answers, and"
    " after each answer a picture is painted. VQAScore is the geometric mean"
    " over the facts of the goal.",
    (blocks.Gallery((wanted, *painted), "What is painted after each answer"),),
    Markup("").join(
      Markup("<h2>{}</h2>{}").format(title, drawing(turn.belief))
      for title, turn in (
        ("What is believed at first", turns[0]),
        ("What is believed at the end", turns[-1]),
      )
    ),
  )


def drawing(belief: Graph) -> Markup:
  """A belief graph as SVG: things as large as they matter and are likely.

  What is believed of a thing stands outside of the ring, likeliest values with
  their probabilities; of two things, on the line between them.
  """
  shown = [e for e in belief.entities if e.probability > 0]
  turns = {e.name: 2 * math.pi * i / len(shown) for i, e in enumerate(shown)}
  lines = [
    _line(turns[r.first], turns[r.second], n, _likeliest(r))
    for n, r in enumerate(belief.relations)
    if {r.first, r.second} <= set(turns)
  ]
  nodes = [_node(e, turns[e.name]) for e in shown]
  return Markup(
    '<svg viewBox="-340 -260 680 520" role="img" width="680"'
    ' style="max-width: 100%" font-size="11" fill="currentColor">'
    "<title>Belief graph</title>{}{}</svg>"
  ).format(Markup("").join(lines), Markup("").join(nodes))


def _likeliest(one: Attribute) -> str:
  best = one.likeliest
  return f"{best.name} {best.probability:.0%}"


def _at(turn: float, radius: float) -> tuple[float, float]:
  """A place on a ring, clockwise from the top."""
  return radius * math.sin(turn), -radius * math.cos(turn)


def _node(entity: Entity, turn: float) -> Markup:
  share = entity.importance * entity.probability
  radius = _SMALL + (_LARGE - _SMALL) * share
  x, y = _at(turn, _RING)
  u, v = _at(turn, _RING + radius + _GAP)
  texts = [_named(entity), *(_likeliest(a) for a in entity.attributes)]
  side = "middle" if abs(u) < 1 else "start" if u > 0 else "end"
  # Above the ring the last line is nearest to it, below it the first one.
  up = 0.5 * _LEADING * len(texts) * (1 + math.cos(turn)) - 0.7 * _LEADING
  lines = Markup("").join(
    Markup('<tspan x="{:.1f}" y="{:.1f}">{}</tspan>').format(
      u, v - up + _LEADING * n, text
    )
    for n, text in enumerate(texts)
  )
  return Markup(
    '<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill-opacity="{:.2f}"/>'
    '<text text-anchor="{}">{}</text>'
  ).format(x, y, radius, 0.1 + 0.5 * entity.probability, side, lines)


def _named(entity: Entity) -> str:
  if entity.kind == "background":
    return entity.name
  return f"{entity.name} {entity.probability:.0%}"


def _line(one: float, other: float, number: int, text: str) -> Markup:
  (x, y), (u, v) = _at(one, _RING), _at(other, _RING)
  # Not all in the middle of their lines, where these cross.
  share = _ALONG[number % len(_ALONG)]
  return Markup(
    '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"'
    ' stroke="currentColor" stroke-opacity="0.4"/>'
    '<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
  ).format(x, y, u, v, x + share * (u - x), y + share * (v - y), text)
