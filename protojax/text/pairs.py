"""What a text says of its things: attributes and the noun that they belong to.

The rule: a thing begins with an article, its last word is the noun, and those
between are attributes, as in "a red cup and a blue striped cat in the snow".
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from protojax.text import vocabulary

_ARTICLES = ("a", "an", "the")
# Words that end a thing; what follows "in", "on" and so on is no thing.
_JOINING = ("and", "with")
_PLACING = ("in", "on", "at", "under", "over", "behind", "beside", "near")


class Pair(NamedTuple):
  """A thing of a text, by the numbers of its words from 0.

  Attributes:
    attributes: of the thing; at least one.
    noun: what it is.
  """

  attributes: tuple[int, ...]
  noun: int

  def said(self, words: Sequence[str]) -> str:
    """The thing by itself, as in "a red cup"."""
    own = [words[i] for i in (*self.attributes, self.noun)]
    article = "an" if own[0][0] in "aeiou" else "a"
    return " ".join([article, *own])


# Words of a text -> its pairs; for parsers of a user's own.
Parse = Callable[[Sequence[str]], tuple[Pair, ...]]


def by_rule(words: Sequence[str]) -> tuple[Pair, ...]:
  """The pairs of a text, in their order; a thing without attributes is none.

  Args:
    words: of the text, see `vocabulary.split`.
  """
  found: list[Pair] = []
  thing: list[int] | None = None
  for i, word in enumerate([*words, _JOINING[0]]):
    ends = word in _JOINING or word in _PLACING or word in _ARTICLES
    if not ends:
      if thing is not None:
        thing.append(i)
      continue
    if thing is not None and len(thing) > 1:
      found.append(Pair(tuple(thing[:-1]), thing[-1]))
    previous = words[i - 1] if i else ""
    placed = previous in _PLACING
    thing = [] if word in _ARTICLES and not placed else None
  return tuple(found)


def of_text(text: str, parse: Parse = by_rule) -> tuple[str, ...]:
  """Each pair of a text as a text of its own, as in "a red cup"."""
  words = vocabulary.split(text)
  return tuple(pair.said(words) for pair in parse(words))
