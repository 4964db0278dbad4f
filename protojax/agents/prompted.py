"""A dialogue about any picture, by models that are asked over a network.

What `dialogue` does for the embedded world by a lexicon and counts, a model of
language does here for whatever a user describes: it reads the description,
words the question, and works the answer in.
"""

import dataclasses
import json
from pathlib import Path
from typing import Literal, TypedDict, get_args

from jaxtyping import UInt8
import numpy as np

from protojax import json_files, writing
from protojax.agents import beliefs, editing, facts, policies, prompting
from protojax.agents import graph as graphs
from protojax.agents import questions as worded
from protojax.agents.beliefs import Sizes
from protojax.agents.dialogue import VERSION, scores
from protojax.agents.facts import NO, YES, Place
from protojax.agents.graph import Attribute, Entity, Graph, Relation
from protojax.agents.history import History, State, Turn
from protojax.agents.parsing import Parser
from protojax.agents.providers import ImageProvider
from protojax.agents.questions import Question
from protojax.shown import shown
from protojax.types import UserError

Policy = Literal[
  "ag1", "binary", "random", "none", "belief-prompted", "principle-prompted"
]
POLICIES: tuple[Policy, ...] = get_args(Policy)
# The model words these; the others are scores of the belief.
_IN_WORDS = ("belief-prompted", "principle-prompted")
SIDE = 512  # of a picture, in pixels
_STATED = 1.0  # importance of what a user names and no parse has


@dataclasses.dataclass(frozen=True, kw_only=True)
class _State(State):
  denied: tuple[tuple[Place, str], ...] = ()


class NoAnswer(UserError):
  """A text in which the model finds no answer."""


class PromptedDialogue(History[_State]):
  """One user's dialogue; what fails changes nothing. No word is unknown."""

  def __init__(
    self,
    prompt: str,
    parser: Parser,
    images: ImageProvider | None = None,
    policy: Policy = "ag1",
    known: float = policies.KNOWN,
    seed: int = 0,
    begun: _State | None = None,
  ):
    """Begins with a prompt.

    Args:
      prompt: "a rabbit in a garden".
      parser: asks the model of language.
      images: makes pictures; None if there is none.
      policy: what is asked next.
      known: what is so probable is not asked for.
      seed: of random questions.
      begun: of a dialogue that goes on; see `load`.

    Raises:
      UserError: the model gives no belief.
    """
    self._parser = parser
    self._images = images
    self._policy: Policy = policy
    self._known, self._seed = known, seed
    super().__init__(begun or _State(belief=parser.graph(prompt)))
    self._question: tuple[_State, Question | None] | None = None

  def ask(self) -> Question | None:
    """The question that is worth most; None if nothing is left to ask.

    Raises:
      UserError: the model does not answer.
    """
    now = self._states[-1]
    if self._question is None or self._question[0] is not now:
      self._question = now, self._next(now)
    return self._question[1]

  def _next(self, now: _State) -> Question | None:
    graph = facts.closed(now.belief, now.passed)
    size = _rounded(beliefs.sizes([graph]))
    numbers = beliefs.arrays(graph, size)
    if self._policy in _IN_WORDS:
      # The rule to stop of the authors' code: all is known well enough.
      known = bool(policies.all_known(numbers, self._known))
      return None if known else self._worded(now)
    count = len(self._states)
    chosen = scores(self._policy, numbers, self._known, self._seed, count)
    if chosen == policies.NOTHING:
      return None
    place, candidate = beliefs.place(graph, size, chosen)
    binary = self._policy == "binary"
    return worded.question(graph, place, candidate, binary)

  def _worded(self, now: _State) -> Question | None:
    history = [list(turn) for turn in now.turns]
    if self._policy == "belief-prompted":
      text = self._parser.question(
        prompting.ASK_BY_BELIEF,
        description=self.prompt,
        belief=_said(now.belief),
        history=history,
      )
    else:
      text = self._parser.question(
        prompting.ASK_BY_PRINCIPLES, description=self.prompt, history=history
      )
    return Question(Place(""), text, ()) if text else None

  def answer(self, question: Question, text: str) -> None:
    """Takes an answer: pinned at once, and merged into the prompt.

    Raises:
      NoAnswer: the model finds nothing in the text; nothing has changed.
      UserError: the model does not answer; nothing has changed.
    """
    now = self._states[-1]
    turns = (*now.turns, Turn(question.text, text))
    if worded.is_no_matter(text):
      passed = now.passed | (
        {question.place} if question.place.entity else set()
      )
      self._states.append(dataclasses.replace(now, passed=passed, turns=turns))
      return
    merged = self._parser.merged(self.prompt, question, text)
    said = worded.yes_or_no(text) if question.value else None
    told = [(f.place, f.value) for f in merged.facts]
    denied = now.denied
    if said is not None:
      told = [x for x in told if x[0].key != question.place.key]
      if not question.place.name:
        told.append((question.place, YES if said else NO))
      elif said:
        told.append((question.place, question.value))
      else:
        denied = (*denied, (question.place, question.value))
    if not told and denied == now.denied:
      raise NoAnswer(
        f"{shown(text)} does not answer {shown(question.text)}, says"
        f' {self._parser.llm.name}: try other words, or "I don\'t know"'
      )
    self._tell(merged.description, told, denied, turns)

  def say(self, text: str) -> None:
    """Takes a sentence that answers no question.

    Raises:
      UserError: the model does not answer, or finds nothing in the text.
    """
    question = Question(Place(""), "What else shall the picture show?", ())
    merged = self._parser.merged(self.prompt, question, text)
    if not merged.facts:
      raise UserError(f"{shown(text)} says nothing that can be seen")
    told = [(f.place, f.value) for f in merged.facts]
    self._tell(merged.description, told, self._states[-1].denied, self.turns)

  def _tell(self, description, told, denied, turns) -> None:
    now = self._states[-1]
    before = now.belief
    told = [facts.meant(before, place, value) for place, value in told]
    for place, value in told:
      before = stated(before, place, value)
    # A thing that is new or confirmed has relations, and more things with it.
    new = any(
      not place.name or now.belief.entity(name) is None
      for place, _ in told
      for name in (place.entity, place.second or place.entity)
    )
    names = [e.name for e in before.entities]
    if new or self._policy in _IN_WORDS:
      parsed = self._parser.graph(description, names)
    else:
      parsed = self._parser.attributes(
        dataclasses.replace(before, prompt=description)
      )
    belief = facts.remember(parsed, before)
    for place, value in denied:
      belief = _without(belief, place, value)
    belief = dataclasses.replace(belief, prompt=description)
    self._states.append(
      dataclasses.replace(now, belief=belief, denied=denied, turns=turns)
    )

  def generate(self, count: int, seed: int) -> UInt8[np.ndarray, "n S S 3"]:
    """Pictures of what was said.

    Raises:
      UserError: there is no model that makes them, or it does not answer.
    """
    if self._images is None:
      raise UserError("no model makes pictures: name one with --image-model")
    return self._images.generate(self.prompt, count, seed, SIDE)

  def save(self, path: str | Path) -> None:
    """Writes the dialogue as JSON; an edit before it cannot be undone after."""
    now = self._states[-1]
    content = {
      "version": VERSION,
      "llm": self._parser.llm.name,
      "policy": self._policy,
      "seed": self._seed,
      "passed": [list(place) for place in sorted(now.passed)],
      "denied": [[*place, value] for place, value in now.denied],
      "turns": [list(turn) for turn in now.turns],
      "belief": graphs.to_json(now.belief),
    }
    with writing.replacing(Path(path)) as file:
      file.write(writing.json_text(content, indent=1))


class _Saved(TypedDict):
  version: int
  llm: str
  policy: Policy
  seed: int
  passed: list[list[str]]
  denied: list[list[str]]
  turns: list[list[str]]
  belief: graphs.JSON


def load(
  path: str | Path,
  parser: Parser,
  images: ImageProvider | None = None,
  known: float = policies.KNOWN,
) -> PromptedDialogue:
  """The dialogue that `PromptedDialogue.save` wrote.

  Raises:
    UserError: it is no such dialogue, or one of another version.
  """
  way_out = "it is no dialogue of a provider"
  version = json_files.read_json(path, _Versioned, way_out)["version"]
  if version != VERSION:
    raise UserError(
      f"{path} is a dialogue of version {version}; this release reads version"
      f" {VERSION}"
    )
  found: _Saved = json_files.read_json(path, _Saved, way_out)
  try:
    denied = tuple((Place(*names), value) for *names, value in found["denied"])
    begun = _State(
      belief=graphs.from_json(json.dumps(found["belief"])),
      passed=frozenset(Place(*names) for names in found["passed"]),
      denied=denied,
      turns=tuple(Turn(*both) for both in found["turns"]),
    )
  except (TypeError, ValueError) as error:
    raise UserError(f"{path} is no dialogue: a fact is cut short") from error
  return PromptedDialogue(
    begun.belief.prompt,
    parser,
    images,
    found["policy"],
    known,
    found["seed"],
    begun,
  )


class _Versioned(TypedDict):
  version: int


def stated(graph: Graph, place: Place, value: str) -> Graph:
  """The graph with what a user has said, pinned; what is missing is added.

  Raises:
    UserError: an appearance that is neither "yes" nor "no".
  """
  for name in filter(None, (place.entity, place.second)):
    if graph.entity(name) is None:
      graph = editing.add_entity(graph, Entity(name, _STATED))
  if place.name and facts.unknown(graph, place) is None:
    sure = editing.sure(place.name, _STATED, value)
    if place.second:
      relation = Relation(
        sure.name,
        sure.importance,
        sure.candidates,
        first=place.entity,
        second=place.second,
      )
      graph = editing.add_relation(graph, relation)
    else:
      graph = editing.add_attribute(graph, place.entity, sure)
  return facts.pin(graph, place, value)


def _without(graph: Graph, place: Place, value: str) -> Graph:
  """The graph in which a value was denied, if it is in doubt there."""
  one = facts.unknown(graph, place)
  if one is None or one.pinned or not 0 < one.probability(value) < 1:
    return graph
  return facts.answer_yes_or_no(graph, place, value, yes=False)


def _said(graph: Graph) -> dict[str, list[str]]:
  """A belief in few words, for a prompt."""

  def of(one: Attribute) -> str:
    likely = ", ".join(f"{c.name} {c.probability:.2f}" for c in one.candidates)
    return f"{one.name} (importance {one.importance:.2f}): {likely}"

  return {
    "entities": [
      f"{e.name} ({e.kind}, importance {e.importance:.2f}, appears"
      f" {e.probability:.2f}): {'; '.join(map(of, e.attributes))}"
      for e in graph.entities
    ],
    "relations": [f"{r.first} to {r.second}, {of(r)}" for r in graph.relations],
  }


def _rounded(size: Sizes) -> Sizes:
  """Powers of two, from 8 on, so that few programs are compiled."""
  return Sizes(*(max(8, 1 << (n - 1).bit_length()) for n in size))
