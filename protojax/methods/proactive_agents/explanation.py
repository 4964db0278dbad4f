"""Explains answers about pictures, and reports what self-play brings.

Of each picture: what the network takes it to show, beside the truth. Of all:
how its P(yes) holds, and curves of agents who ask simulated users, in numbers
that they believe and in pictures that they would paint.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from protojax.agents import painted, scenes, selfplay
from protojax.agents import world as worlds
from protojax.agents.judge import FACTS
from protojax.agents.painted import Shown
from protojax.agents.selfplay import Curves, Policy
from protojax.explain import blocks, in_blocks
from protojax.explain.blocks import Axis, Curve, Series, Table
from protojax.explain.request import Request
from protojax.methods.proactive_agents import calibrating, judging
from protojax.types import State

# Images that are explained, if no limit is asked for.
_SHOWN = 24
# Goals of the report are drawn with seeds of their own.
_GOALS = 3_000_000
_QUESTIONS = 24
# Field -> what it is in a picture of curves, and its unit.
_FIGURES = {
  "weighted": ("Negative log-likelihood of the goal, by importance", "nats"),
  "recall": ("Facts of the goal that the believed scene has", "share"),
  "told": ("F1 of what was told against the goal", ""),
  "product": ("VQAScore of the goal: product over its facts", ""),
  "geometric": ("VQAScore of the goal: geometric mean", ""),
  "likeness": ("Cosine of picture and goal", ""),
}


def explain(
  method: Any, state: State, data: Any, request: Request
) -> Iterator[blocks.Explanation]:
  """Pictures, evenly chosen; then an overview of answers and self-play.

  Args:
    method: itself.
    state: of the method.
    data: the pictures, in the order of their source.
    request: "heat", "preset" and "allow_changed" have no effect.
  """
  count = min(in_blocks.limit(request, _SHOWN), len(data))
  true = method.truths(request.split)
  logits, seen = [], []
  batches = data.spread(count)
  for example, row in in_blocks.swept(method.predict, state, batches, request):
    index = int(example["index"])
    logits.append(row["logits"])
    seen.append(true[index])
    yield _picture(data, request, index, row["probabilities"], true[index])
  temperature = float(state.buffers["temperature"])
  asked = judging.asked(
    np.stack(logits), np.stack(seen), _QUESTIONS, method.config.seed
  )
  yield blocks.Explanation(
    "answers",
    "Answers about pictures",
    "overview",
    split=request.split,
    blocks=tuple(_answers(asked, temperature)),
  )
  yield blocks.Explanation(
    "self-play",
    "Agents ask simulated users",
    "overview",
    blocks=tuple(_played(method, state)),
  )


def words(cell: int) -> str:
  """A cell of the world as a sentence."""
  names = (*scenes.TYPES, *scenes.WHOLE)
  unknown = int(worlds.UNKNOWN[cell])
  first, second = (names[i] for i in worlds.NEEDS[unknown])
  entities, attributes, _, values = worlds.SIZES
  if unknown < entities:
    return f"there is a {first}"
  value = (cell - entities) % values
  if first != second:
    return f"the {first} is {scenes.RELATIONS[value]} the {second}"
  if first in scenes.WHOLE:
    return f"the {first} is {scenes.WHOLE[first][value]}"
  name = tuple(scenes.ATTRIBUTES)[(unknown - entities) % attributes]
  return f"the {first} is {scenes.ATTRIBUTES[name][value]}"


def _picture(
  data: Any, request: Request, index: int, p: np.ndarray, true: np.ndarray
) -> blocks.Explanation:
  """Its facts, and what it is wrongly taken to show."""
  said = np.flatnonzero(FACTS & (true | (p > 0.5))).tolist()
  wrong = sum(bool(true[k]) != bool(p[k] > 0.5) for k in said)
  rows = tuple(
    (words(k), float(p[k]), "yes" if true[k] else "no")
    for k in sorted(said, key=lambda k: (worlds.NEEDS[worlds.UNKNOWN[k]][0], k))
  )
  image = data.source[index]["image"]
  name = data.source.name(index)
  return blocks.Explanation(
    f"{request.split}-{index}",
    name,
    "local",
    split=request.split,
    subject=name,
    blocks=(
      blocks.Picture(image, "what is asked about"),
      blocks.Sentence(
        f"{wrong} of {len(said)} facts that it shows, or is taken to show, are"
        " judged wrongly."
      ),
      Table(("fact", "P(yes)", "true"), rows, "What the picture shows"),
    ),
  )


def _answers(
  asked: judging.Answered, temperature: float
) -> Iterator[blocks.Block]:
  found = judging.measured(asked, temperature)
  yield blocks.pairs(
    {**found, "temperature": temperature, "questions": asked.yes.size},
    ("figure", "value"),
    "Answers",
  )
  p = calibrating.probability(asked.logits, temperature).ravel()
  counts, said, share = judging.reliability(p, asked.yes.ravel())
  some = counts > 0
  yield Curve(
    (
      Series("answers", said[some], share[some]),
      Series("as it should be", np.array([0.0, 1.0]), np.array([0.0, 1.0])),
    ),
    Axis("P(yes)"),
    Axis("share of yes"),
    "What P(yes) is worth: bins of answers. Half of the questions are of what"
    " is true.",
  )


def played(method: Any, state: State) -> dict[str, tuple[Curves, Shown]]:
  """Self-play of the config's policies, and what its pictures show."""
  play, seed = method.config.play, method.config.seed
  trained = method.trained(state, "this run")
  world = worlds.world(trained.grammar)
  goals = scenes.draw(play.goals, _GOALS + seed)
  turns, found = range(play.turns + 1), {}
  for name in play.policies:
    policy: Policy = name
    curves = selfplay.play(
      world, goals, policy, play.turns, seed, learned=trained.learned
    )
    found[name] = (
      curves,
      painted.shown(
        trained, world, goals, curves.question, turns, seed, name == "binary"
      ),
    )
  return found


def _played(method: Any, state: State) -> Iterator[blocks.Block]:
  found = played(method, state)
  turns = np.arange(method.config.play.turns + 1)
  yield blocks.Sentence(
    f"{method.config.play.goals} goals for each policy. Users know the goal and"
    " answer truly; they are not people."
  )
  figures = {
    name: {**curves._asdict(), **shown._asdict()}
    for name, (curves, shown) in found.items()
  }
  for field, (title, unit) in _FIGURES.items():
    lines = tuple(
      Series(name, turns.astype(float), of[field].mean(0))
      for name, of in figures.items()
    )
    yield Curve(lines, Axis("questions"), Axis(title, unit), title)
  yield Table(
    ("policy", "figure", "turn", "mean", "standard error"),
    tuple(_rows(figures)),
    "Self-play",
  )
  seen, exact = (
    np.concatenate([getattr(shown, x).ravel() for _, shown in found.values()])
    for x in ("geometric", "exact")
  )
  yield blocks.Sentence(
    "Over these pictures the geometric VQAScore and the share of facts that the"
    " painted scenes have correlate with"
    f" {judging.correlation(seen, exact):.3f}."
  )


def _rows(
  figures: Mapping[str, Mapping[str, np.ndarray]],
) -> Iterator[tuple[blocks.Cell, ...]]:
  for name, of in figures.items():
    for field in _FIGURES:
      values = of[field]
      count = len(values)
      error = values.std(0, ddof=1 if count > 1 else 0) / np.sqrt(count)
      for turn, (mean, own) in enumerate(
        zip(values.mean(0), error, strict=True)
      ):
        yield name, field, turn, float(mean), float(own)
