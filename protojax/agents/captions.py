"""Self-play about captions: models ask, and a model answers for the user.

The user is told the goal and answers from it alone. What comes out says how
well an agent gets out of such a user what it was told; it does not say how a
person would answer, who may not know, change their mind, or tire.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from jaxtyping import Float
import numpy as np

from protojax.agents import facts, likelihood, prompted
from protojax.agents import graph as graphs
from protojax.agents import trace as traces
from protojax.agents.facts import NO, Place
from protojax.agents.goals import Goal
from protojax.agents.graph import Graph
from protojax.agents.parsing import Parser
from protojax.agents.prompted import Policy, PromptedDialogue
from protojax.agents.providers import EmbedProvider, ImageProvider, VQAProvider
from protojax.agents.trace import Trace
from protojax.shown import shown
from protojax.types import UserError

_CERTAIN = 1 - 1e-6  # a fact of a belief, for F1
_LEAST = 1e-6  # of an answer, in a geometric mean


# What a user answers that the goal does not say: that they don't know, what is
# likeliest, or what is drawn once, as likely as it is believed.
User = Literal["literal", "likely", "sampled"]
USERS: tuple[User, ...] = get_args(User)


class Judges(NamedTuple):
  """What figures need.

  Attributes:
    images: makes pictures, or None.
    vqa: judges them, or None.
    embed: compares texts, or None.
    pictures: of each turn.
  """

  images: ImageProvider | None = None
  vqa: VQAProvider | None = None
  embed: EmbedProvider | None = None
  pictures: int = 1


def play(
  goal: Goal,
  parser: Parser,
  policy: Policy,
  turns: int,
  seed: int,
  judges: Judges,
  trace: str | Path,
  user: User = "literal",
) -> dict[str, Float[np.ndarray, " t"]]:
  """Holds one dialogue.

  Args:
    goal: what the user wants.
    parser: asks the model, which is the agent's and the user's.
    policy: what is asked.
    turns: questions, at the most.
    seed: of pictures and random questions.
    judges: of the figures.
    trace: file of the steps.
    user: how the user knows more than the goal says.

  Returns:
    Figures after each turn, from 0: the first prompt alone. "weighted" and
    "unweighted" are `likelihood.negative_log` of the goal in nats, "unmatched"
    how many of its facts the belief has no place for, under any name that means
    the same (`words`); "told" the F1 of what is believed for certain against
    its facts, "known" the share of its facts that are the belief's likeliest.
    Of pictures "vqa_product" and "vqa_geometric"
    are product and geometric mean of a judge's probabilities of the goal's
    facts, "recall" the share of them above 1/2. "cosine" compares prompt and
    description.

  Raises:
    UserError: a model does not answer, or the goal shows nothing.
  """
  try:
    belief = parser.graph(goal.description)
  except UserError as error:
    raise UserError(f"goal {shown(goal.name)}: {error}") from error
  if user == "sampled":
    wanted = likelihood.sampled(belief, np.random.default_rng(seed))
  else:
    wanted = likelihood.likeliest(belief)
  otherwise = () if user == "literal" else tuple(_facts(wanted).values())
  prompt = goal.prompt or parser.short(goal.description)
  spoken = PromptedDialogue(prompt, parser, judges.images, policy, seed=seed)
  steps = Trace(trace)
  steps.begin(
    spoken,
    {
      "version": traces.VERSION,
      "llm": parser.llm.name,
      "images": judges.images.name if judges.images else "",
      "policy": policy,
      "seed": seed,
      "prompt": prompt,
    },
  )
  found = [_figures(spoken, wanted, goal, judges, steps, seed)]
  for _ in range(turns):
    question = spoken.ask()
    if question is None:
      break
    text = parser.answer(goal.description, question.text, otherwise)
    try:
      spoken.answer(question, text)
    except prompted.NoAnswer:
      # As a person would, who is asked again: neither knows better.
      text = "I don't know"
      spoken.answer(question, text)
    steps.answered(spoken, question, text)
    found.append(_figures(spoken, wanted, goal, judges, steps, seed))
  # A dialogue that has ended stays as it was.
  found += [found[-1]] * (turns + 1 - len(found))
  return {name: np.array([f[name] for f in found]) for name in found[0]}


def _figures(
  spoken: PromptedDialogue,
  wanted: Graph,
  goal: Goal,
  judges: Judges,
  steps: Trace,
  seed: int,
) -> dict[str, float]:
  belief = likelihood.named_as(spoken.belief, wanted)
  weighted = likelihood.negative_log(wanted, belief)
  true = _facts(wanted)
  certain = {
    (place.key, graphs.key(one.likeliest.name))
    for place in facts.places(belief)
    if (one := facts.require(belief, place)).likeliest.probability >= _CERTAIN
    and _counts(belief, place, one.likeliest.name)
  }
  both = len(certain) + len(true)
  likely = [facts.unknown(belief, place) for place, _ in true]
  right = sum(
    one is not None and graphs.key(one.likeliest.name) == value
    for one, (_, value) in zip(likely, true, strict=True)
  )
  found = {
    "weighted": weighted.value,
    "unweighted": likelihood.negative_log(wanted, belief, False).value,
    "unmatched": float(weighted.unmatched),
    "told": 2 * len(certain & true.keys()) / both if both else 1.0,
    "known": right / len(true) if true else 1.0,
  }
  if judges.images is not None and judges.vqa is not None and true:
    pictures = spoken.generate(judges.pictures, seed)
    said = list(true.values())
    p = np.array(
      [
        judges.vqa.p_yes(np.repeat(picture[None], len(said), 0), said)
        for picture in pictures
      ]
    )
    geometric = np.exp(np.log(np.maximum(p, _LEAST)).mean(1))
    found["vqa_product"] = float(p.prod(1).mean())
    found["vqa_geometric"] = float(geometric.mean())
    found["recall"] = float((p > 0.5).mean())
    steps.painted(spoken, pictures, seed, **found)
  if judges.embed is not None:
    one, other = judges.embed.text([spoken.prompt, goal.description])
    found["cosine"] = float(one @ other)
  return found


def _facts(wanted: Graph) -> dict[tuple[Place, str], str]:
  """Of a goal: places with their values, each in words."""
  found = {}
  for place in facts.places(wanted):
    value = facts.require(wanted, place).likeliest.name
    if _counts(wanted, place, value):
      words = _in_words(wanted, place, value)
      found[place.key, graphs.key(value)] = words
  return found


def _counts(graph: Graph, place: Place, value: str) -> bool:
  """Whether it is a fact: that there is a style, or no cat, is none."""
  entity = graph.entity(place.entity)
  whole = entity is not None and entity.kind == "background"
  return bool(place.name) or (value != NO and not whole)


def _in_words(graph: Graph, place: Place, value: str) -> str:
  entity = graph.entity(place.entity)
  if not place.name:
    return place.entity
  if place.second:
    return f"the {place.entity} {value} the {place.second}"
  if entity is not None and entity.kind == "background":
    return f"{place.name}: {value}"
  return f"the {place.entity}, whose {place.name} is {value}"


def summary(
  goals: Sequence[Mapping[str, Float[np.ndarray, " t"]]],
) -> dict[str, dict[str, list[float]]]:
  """Mean of each figure over the goals after each turn, and standard error."""
  found = {}
  for name in goals[0]:
    values = np.array([goal[name] for goal in goals if name in goal])
    spread = values.std(0, ddof=1) if len(values) > 1 else 0 * values[0]
    found[name] = {
      "mean": values.mean(0).tolist(),
      "standard_error": (spread / np.sqrt(len(values))).tolist(),
    }
  return found
