"""Texts as words of a small vocabulary that a model learns from the start."""

from collections.abc import Iterable
import dataclasses
import difflib
import functools
import re

from protojax.shown import shown
from protojax.types import UserError

# Every text begins with it, so that one without words has a token, too.
BEGIN = 0
_WORD = re.compile(r"[\w'-]+")
_LISTED = 12


def split(text: str) -> list[str]:
  """The words of a text in lower case; punctuation only parts them."""
  return _WORD.findall(text.lower())


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Words as numbers.

  Attributes:
    words: in their order; the first one is number 1.
    length: the most tokens of a text, with that of its beginning.
  """

  words: tuple[str, ...]
  length: int

  @functools.cached_property
  def _numbers(self) -> dict[str, int]:
    return {word: i for i, word in enumerate(self.words, 1)}

  def ids(self, text: str) -> list[int]:
    """Tokens of a text.

    Raises:
      UserError: a word is not known, or the text is too long.
    """
    found = [BEGIN]
    for word in split(text):
      if word not in self._numbers:
        raise self._unknown(word, text)
      found.append(self._numbers[word])
    if len(found) > self.length:
      raise UserError(
        f"the text {shown(text)} has {len(found) - 1} words; this model reads"
        f" {self.length - 1} at most (config.text.length)"
      )
    return found

  def _unknown(self, word: str, text: str) -> UserError:
    near = difflib.get_close_matches(word, self.words, 3, cutoff=0.6)
    hint = f"; near: {', '.join(near)}" if near else ""
    listed = ", ".join(self.words[:_LISTED])
    more = len(self.words) - _LISTED
    rest = f" and {more} more" if more > 0 else ""
    return UserError(
      f"the word {shown(word)} of the text {shown(text)} is none of the"
      f" {len(self.words)} that this model knows ({listed}{rest}){hint}"
    )


def counted(texts: Iterable[str], most: int) -> tuple[str, ...]:
  """The words of some texts, the most frequent first.

  Args:
    texts: to count in.
    most: words that are kept.
  """
  counts: dict[str, int] = {}
  for text in texts:
    for word in split(text):
      counts[word] = counts.get(word, 0) + 1
  ordered = sorted(counts, key=lambda word: (-counts[word], word))
  return tuple(ordered[:most])
