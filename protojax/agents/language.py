"""From sentences to facts of scenes, and back, by a lexicon alone.

What is read from a sentence that `say` makes of facts are these facts again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import re
from typing import NamedTuple

from protojax.agents import words as meanings
from protojax.agents.facts import NO, YES, Place
from protojax.agents.scenes import (
  ATTRIBUTES,
  RELATION,
  RELATIONS,
  TYPES,
  WHOLE,
  Fact,
)

# Other words for a word of the world, beside those of `words`.
_SYNONYMS: Mapping[str, str] = {
  "money": "coin",
  "spaceship": "rocket",
  "tyre": "wheel",
  "tire": "wheel",
  "blossom": "flower",
  "rose": "flower",
  "pagoda": "temple",
  "moon": "crater",
  "golden": "yellow",
  "gold": "yellow",
  "azure": "blue",
  "mid-sized": "medium",
  "smooth": "plain",
  "to the left of": "left of",
  "to the right of": "right of",
  "on top of": "above",
}
_NOT = frozenset(("no", "not", "without", "isn't", "never", "nor"))
_MANY = frozenset(("two", "three", "four", "five", "several", "many", "some"))
_PASSED = frozenset(
  (
    *("a", "an", "the", "one", "is", "are", "of", "on", "in", "with", "and"),
    *("that", "which", "there", "it", "its", "to", "has", "at", "as", "by"),
    *("picture", "image", "show", "me", "paint", "please", "style", "i"),
    *("want", "would", "like", "scene", "coloured", "colored", "sized"),
  )
)
_SENTENCE = re.compile(r"[.!?\n]")
_CLAUSE = re.compile(r"[,;:]")
_WORD = re.compile(r"[\w'-]+")
# What a background can be called by is a colour of things, too.
_OF_BACKGROUND = "background"


class Read(NamedTuple):
  """What was read from a text.

  Attributes:
    facts: without one twice; of two that exclude each other the later one.
    unknown: words that mean nothing here, and numbers of things, of which
      there is one each.
  """

  facts: tuple[Fact, ...]
  unknown: tuple[str, ...]


def read(text: str) -> Read:
  """The facts of a text: "a small red coin left of a cup, no cat"."""
  found: dict[tuple[Place, str | bool], Fact] = {}
  unknown: dict[str, None] = {}
  for sentence in _SENTENCE.split(text):
    reader = _Reader(unknown)
    for clause in _CLAUSE.split(sentence):
      for fact in reader.facts(list(_tokens(clause))):
        _add(found, fact)
  return Read(tuple(found.values()), tuple(unknown))


def merged(before: Iterable[Fact], later: Iterable[Fact]) -> tuple[Fact, ...]:
  """Facts of both; of two that exclude each other the later one."""
  found: dict[tuple[Place, str | bool], Fact] = {}
  for fact in (*before, *later):
    _add(found, fact)
  return tuple(found.values())


def say(facts: Sequence[Fact]) -> str:
  """A sentence of facts, in the order of the world."""
  true = {f.place: f.value for f in facts if f.holds}
  clauses = []
  for name in TYPES:
    appears = true.get(Place(name))
    if appears == NO:
      clauses.append(f"no {name}")
    elif appears == YES:
      words = [
        true[Place(name, attribute)]
        for attribute in reversed(list(ATTRIBUTES))
        if Place(name, attribute) in true
      ]
      clauses.append(" ".join(("a", *words, name)))
  clauses += [
    f"the {place.entity} is {value} the {place.second}"
    for place, value in true.items()
    if place.second
  ]
  for place, value in true.items():
    if place.entity in WHOLE:
      clauses.append(f"{value} {place.entity}")
  for fact in facts:
    if not fact.holds:
      clauses.append(
        f"the {fact.place.entity} is not {said(fact.place, fact.value)}"
      )
  return ", ".join(clauses)


def said(place: Place, value: str) -> str:
  """A value as it stands in a sentence: "red", "left of the cup"."""
  return f"{value} the {place.second}" if place.second else value


def _add(found: dict[tuple[Place, str | bool], Fact], fact: Fact) -> None:
  """A value excludes other values, and what was said not to be.

  Of what does not appear nothing else is known.
  """
  if not fact.place.name and fact.value == NO:
    gone = fact.place.entity
    for key in [k for k in found if gone in (k[0].entity, k[0].second)]:
      del found[key]
  if fact.holds:
    for key in [k for k in found if k[0] == fact.place]:
      del found[key]
    found[fact.place, True] = fact
    return
  told = found.get((fact.place, True))
  if told is not None and told.value == fact.value:
    del found[fact.place, True]
  found[fact.place, fact.value] = fact


class _Token(NamedTuple):
  kind: str  # "thing", "value", "relation", "background", "not", "unknown"
  word: str


def _lexicon() -> dict[tuple[str, ...], _Token]:
  words: dict[str, _Token] = {t: _Token("thing", t) for t in TYPES}
  values = [v for some in (*ATTRIBUTES.values(), *WHOLE.values()) for v in some]
  words |= {v: _Token("value", v) for v in values}
  words |= {r: _Token("relation", r) for r in RELATIONS}
  words[_OF_BACKGROUND] = _Token("background", _OF_BACKGROUND)
  words |= {other: words[word] for other, word in _SYNONYMS.items()}
  words |= {word: _Token("not", word) for word in _NOT}
  return {
    tuple(map(meanings.plain, word.split())): token
    for word, token in words.items()
  }


_LEXICON = _lexicon()
_LONGEST = max(map(len, _LEXICON))


def _tokens(clause: str) -> Iterator[_Token]:
  """The longest words of the lexicon first, whatever their number."""
  words = [w.casefold() for w in _WORD.findall(clause)]
  plain = list(map(meanings.plain, words))
  at = 0
  while at < len(words):
    for length in range(_LONGEST, 0, -1):
      token = _LEXICON.get(tuple(plain[at : at + length]))
      if token is not None:
        yield token
        at += length
        break
    else:
      if _PASSED.isdisjoint((words[at], plain[at])):
        yield _Token("unknown", words[at])
      at += 1


class _Reader:
  """Reads a sentence, clause by clause and word by word."""

  def __init__(self, unknown: dict[str, None]):
    self._unknown = unknown
    self._values: list[str] = []
    self._denied = False
    self._last = ""  # the thing that was named last
    self._relation: tuple[str, str, bool] | None = None

  def facts(self, tokens: Sequence[_Token]) -> Iterator[Fact]:
    self._denied, self._relation = False, None
    for token in tokens:
      match token.kind:
        case "not":
          self._denied = True
        case "value":
          yield from self._value(token.word)
        case "relation" if self._last:
          self._relation = self._last, token.word, not self._denied
          self._denied = False
        case "thing":
          yield from self._thing(token.word)
        case "background":
          yield from self._background()
        case _:
          self._unknown[token.word] = None
    # Values without a thing behind them: "the coin is red".
    values, self._values = self._values, []
    for value in values:
      yield from self._of(self._last, value)

  def _value(self, word: str) -> Iterator[Fact]:
    if word in WHOLE["style"]:
      yield Fact(Place("style", "style"), word, not self._denied)
      self._denied = False
    elif self._denied and self._last:
      # "the coin is not red": of the thing before.
      yield from self._of(self._last, word, holds=False)
      self._denied = False
    else:
      self._values.append(word)

  def _thing(self, name: str) -> Iterator[Fact]:
    if self._relation is not None:
      first, relation, holds = self._relation
      self._relation = None
      yield Fact(Place(name), YES)
      yield _ordered(first, relation, name, holds)
    elif self._denied:
      self._denied, self._values = False, []
      yield Fact(Place(name), NO)
      return
    else:
      yield Fact(Place(name), YES)
    self._last = name
    values, self._values = self._values, []
    for value in values:
      yield from self._of(name, value)

  def _background(self) -> Iterator[Fact]:
    values, self._values = self._values, []
    for value in values:
      if value in WHOLE[_OF_BACKGROUND]:
        place = Place(_OF_BACKGROUND, _OF_BACKGROUND)
        yield Fact(place, value, not self._denied)
      else:
        self._unknown[value] = None
    self._last, self._denied = _OF_BACKGROUND, False

  def _of(self, name: str, value: str, holds: bool = True) -> Iterator[Fact]:
    for attribute, values in ATTRIBUTES.items():
      if value in values and name in TYPES:
        yield Fact(Place(name, attribute), value, holds)
        return
    if value in WHOLE[_OF_BACKGROUND] and name in ("", _OF_BACKGROUND):
      place = Place(_OF_BACKGROUND, _OF_BACKGROUND)
      yield Fact(place, value, holds)
      return
    self._unknown[value] = None


_OTHER_WAY = dict(
  zip(RELATIONS, ("right of", "left of", "below", "above"), strict=True)
)


def _ordered(first: str, relation: str, second: str, holds: bool) -> Fact:
  """In the order of the world, in which every relation is said once."""
  if TYPES.index(first) > TYPES.index(second):
    first, second, relation = second, first, _OTHER_WAY[relation]
  return Fact(Place(first, RELATION, second), relation, holds)
