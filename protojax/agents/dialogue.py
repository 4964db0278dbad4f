"""A dialogue: the agent asks, a user answers or edits, and it paints.

Of the embedded world alone: sentences are read by a lexicon, and unknowns are
believed as often as training scenes have them.
"""

from collections.abc import Sequence
import dataclasses
import functools
import json
from pathlib import Path
from typing import Literal, TypedDict, get_args

import jax
from jaxtyping import UInt8
import numpy as np

from protojax import json_files, writing
from protojax.agents import (
  beliefs,
  facts,
  language,
  painting,
  policies,
  questions,
  scenes,
  world,
)
from protojax.agents import graph as graphs
from protojax.agents.facts import NO, YES, Place
from protojax.agents.history import History, State, Turn
from protojax.agents.questions import Question
from protojax.agents.scenes import Fact, Grammar, Scenes
from protojax.shown import shown
from protojax.types import UserError

Policy = Literal["ag1", "binary", "random", "none"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
VERSION = 1  # of the file of a dialogue
_TRAINING_SCENES = 20_000
_BY_ATTRIBUTE = jax.jit(policies.by_attribute, static_argnames="known")
_BY_CANDIDATE = jax.jit(policies.by_candidate)
_AT_RANDOM = jax.jit(policies.at_random)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _State(State):
  facts: tuple[Fact, ...]


class Dialogue(History[_State]):
  """One user's dialogue."""

  def __init__(
    self,
    prompt: str,
    grammar: Grammar | None = None,
    policy: Policy = "ag1",
    known: float = policies.KNOWN,
    seed: int = 0,
  ):
    """Begins with a prompt.

    Args:
      prompt: "a red coin and a cup".
      grammar: what scenes are like; that of the embedded world by default.
      policy: what is asked next.
      known: what is so probable is not asked for.
      seed: of random questions.
    """
    self._grammar = grammar or embedded()
    self._policy: Policy = policy
    self._known = known
    self._seed = seed
    said = language.read(prompt)
    text = language.say(said.facts)
    belief = self._grammar.belief(said.facts, text)
    super().__init__(_State(belief=belief, facts=said.facts))
    self.unknown = said.unknown

  def ask(self) -> Question | None:
    """The question that is worth most; None if nothing is left to ask."""
    now = self._states[-1]
    graph = facts.closed(now.belief, now.passed)
    numbers = beliefs.arrays(graph, world.SIZES)
    count = len(self._states)
    chosen = scores(self._policy, numbers, self._known, self._seed, count)
    if chosen == policies.NOTHING:
      return None
    place, candidate = beliefs.place(graph, world.SIZES, chosen)
    binary = self._policy == "binary"
    return questions.question(graph, place, candidate, binary)

  def answer(self, question: Question, text: str) -> None:
    """Takes an answer: pinned at once, and merged into the prompt.

    A whole sentence is taken as well; "I don't know" is not asked again.

    Raises:
      UserError: the text does not answer the question; nothing has changed.
    """
    now = self._states[-1]
    own, said = questions.answered(question, text)
    turns = (*now.turns, Turn(question.text, text))
    if own is None and questions.is_no_matter(text):
      self.unknown = ()
      passed = now.passed | {question.place}
      self._states.append(dataclasses.replace(now, passed=passed, turns=turns))
      return
    # To name the things of the question says nothing by itself.
    things = Place(question.place.entity), Place(question.place.second)
    told = [f for f in said.facts if f.place not in things]
    if own is not None:
      told = [*(f for f in told if f.place != own.place), own]
    if not told:
      raise UserError(
        f"{shown(text)} does not answer {shown(question.text)}: try"
        f" {' or '.join(map(shown, question.options))}"
      )
    self._tell(told, turns)
    self.unknown = said.unknown

  def say(self, text: str) -> None:
    """Takes a sentence that answers no question.

    Raises:
      UserError: it says nothing of this world.
    """
    said = language.read(text)
    if not said.facts:
      raise UserError(
        f"{shown(text)} says nothing that this world has; it has:"
        f" {', '.join(scenes.TYPES)}"
      )
    self._tell(said.facts, self.turns)
    self.unknown = said.unknown

  def _tell(self, told: Sequence[Fact], turns: tuple[Turn, ...]) -> None:
    now = self._states[-1]
    # What has an attribute or a place appears.
    there = [
      Fact(Place(name), YES)
      for fact in told
      if fact.place.name and fact.place.entity not in scenes.WHOLE
      for name in filter(None, (fact.place.entity, fact.place.second))
    ]
    merged = language.merged(now.facts, [*there, *told])
    parsed = self._grammar.belief(merged, language.say(merged))
    gone = {f.place.entity for f in merged if f.value == NO}
    kept = dataclasses.replace(
      now.belief,
      entities=tuple(e for e in now.belief.entities if e.name not in gone),
      relations=tuple(
        r for r in now.belief.relations if not gone & {r.first, r.second}
      ),
    )
    for fact in told:
      # What is denied now was not so.
      before = facts.unknown(kept, fact.place)
      if before is not None and not fact.holds:
        free = dataclasses.replace(before, pinned=False)
        kept = facts.put(kept, fact.place, free)
    belief = facts.remember(parsed, kept)
    for fact in told:
      if fact.holds and facts.unknown(belief, fact.place) is not None:
        belief = facts.pin(belief, fact.place, fact.value)
    belief = dataclasses.replace(belief, prompt=parsed.prompt)
    self._states.append(
      dataclasses.replace(now, belief=belief, facts=merged, turns=turns)
    )

  def generate(self, count: int, seed: int) -> UInt8[np.ndarray, "n S S 3"]:
    """Pictures of the scenes of `drawn`."""
    return painting.paint(self.drawn(count, seed))

  def drawn(self, count: int, seed: int) -> Scenes:
    """Scenes that agree with what was said.

    What was not said is as in training scenes that agree with as much of it as
    any. Attributes are then as was said, or drawn with the probabilities that
    a user has set; positions are those of these scenes.
    """
    rng = np.random.default_rng(seed)
    now, grammar = self._states[-1], self._grammar
    agreeing = sum(
      (grammar.agreeing([fact]).astype(int) for fact in now.facts),
      np.zeros(grammar.scenes.size, int),
    )
    chosen = rng.choice(np.flatnonzero(agreeing == agreeing.max()), count)
    drawn = jax.tree.map(lambda x: np.array(x[chosen]), grammar.scenes)
    for fact in now.facts:
      if fact.holds:
        _set(drawn, fact.place, [fact.value] * count)
    for place in facts.places(now.belief):
      one = facts.require(now.belief, place)
      if one.pinned and one.likeliest.probability < 1:
        names = [c.name for c in one.candidates]
        shares = [c.probability for c in one.candidates]
        _set(drawn, place, rng.choice(names, count, p=shares).tolist())
    return drawn

  def save(self, path: str | Path) -> None:
    """Writes the dialogue as JSON; an edit before it cannot be undone after."""
    now = self._states[-1]
    content = {
      "version": VERSION,
      "policy": self._policy,
      "facts": [[*f.place, f.value, f.holds] for f in now.facts],
      "passed": [list(place) for place in sorted(now.passed)],
      "turns": [list(turn) for turn in now.turns],
      "belief": graphs.to_json(now.belief),
    }
    with writing.replacing(Path(path)) as file:
      file.write(writing.json_text(content, indent=1))


def scores(
  policy: str, numbers: beliefs.Beliefs, known: float, seed: int, count: int
) -> int:
  """The question of a policy that looks at the belief alone.

  Args:
    policy: of `Policy`.
    numbers: the belief.
    known: what is so probable is not asked for.
    seed: of random questions.
    count: of what was said before, so that they are others each time.
  """
  match policy:
    case "none":
      return policies.NOTHING
    case "binary":
      found = _BY_CANDIDATE(numbers)
    case "random":
      key = jax.random.fold_in(jax.random.key(seed), count)
      found = _AT_RANDOM(numbers, key)
    case _:
      found = _BY_ATTRIBUTE(numbers, known=known)
  return int(found.question)


class _Saved(TypedDict):
  version: int
  policy: Policy
  facts: list[list[str | bool]]
  passed: list[list[str]]
  turns: list[list[str]]
  belief: graphs.JSON


def load(path: str | Path, grammar: Grammar | None = None) -> Dialogue:
  """The dialogue that `Dialogue.save` wrote.

  Raises:
    UserError: it is no dialogue, or one of another version.
  """
  found: _Saved = json_files.read_json(path, _Saved, "it is no dialogue")
  if found["version"] != VERSION:
    raise UserError(
      f"{path} is a dialogue of version {found['version']}; this release reads"
      f" version {VERSION}"
    )
  made = Dialogue("", grammar, found["policy"])
  try:
    told = tuple(
      Fact(Place(str(a), str(b), str(c)), str(value), bool(holds))
      for a, b, c, value, holds in found["facts"]
    )
    passed = frozenset(Place(*names) for names in found["passed"])
    turns = tuple(Turn(*both) for both in found["turns"])
  except (TypeError, ValueError) as error:
    raise UserError(f"{path} is no dialogue: a fact is cut short") from error
  belief = graphs.from_json(json.dumps(found["belief"]))
  made._grammar.agreeing(told)
  made._states = [_State(belief=belief, facts=told, passed=passed, turns=turns)]
  return made


@functools.cache
def embedded() -> Grammar:
  """What scenes of the embedded world are like, counted over 20,000 of them."""
  drawn = scenes.draw(_TRAINING_SCENES, seed=0)
  return Grammar(drawn, painting.weights(drawn))


def _set(drawn: Scenes, place: Place, values: Sequence[str]) -> None:
  """Gives each scene its value at a place, but for a position."""
  if place.second:
    return
  if place.entity in scenes.WHOLE:
    codes = scenes.WHOLE[place.entity]
    own = list(scenes.WHOLE).index(place.entity)
    drawn.whole[:, own] = [codes.index(value) for value in values]
    return
  thing = scenes.TYPES.index(place.entity)
  if not place.name:
    drawn.there[:, thing] = [value == YES for value in values]
    return
  codes = scenes.ATTRIBUTES[place.name]
  own = list(scenes.ATTRIBUTES).index(place.name)
  drawn.attributes[:, thing, own] = [codes.index(value) for value in values]
