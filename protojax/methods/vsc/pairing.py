"""The pairs of texts: where their words stand, and what is said of each alone.

A source whose examples have a caption gets fields for it. Pairs are numbered in
the order of the text, which must be that of the masks.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
from typing import Any, NamedTuple

from jaxtyping import Bool, Int
import numpy as np

from protojax.data import fields as fields_lib
from protojax.data.fields import Field, Tokens
from protojax.data.source import Source, origin
from protojax.diffusion.guidable import GuidableDiffusion
from protojax.shown import shown
from protojax.text import pairs, vocabulary
from protojax.types import UserError

# (text, words) -> places of tokens; see `GuidableDiffusion.places`.
Places = Callable[[str, str], tuple[int, ...]]


class Placed(NamedTuple):
  """The pairs of a text.

  Attributes:
    owner: the pair of each token, -1 for none.
    noun: True for tokens of a pair's noun.
    said: each pair as a text of its own, as in "a red cup".
  """

  owner: Int[np.ndarray, " l"]
  noun: Bool[np.ndarray, " l"]
  said: tuple[str, ...]


def placed(
  places: Places,
  text: str,
  length: int,
  most: int,
  parse: pairs.Parse = pairs.by_rule,
) -> Placed:
  """Finds the pairs of a text among its tokens.

  A word that splits into several tokens has them all.

  Args:
    places: of the model that reads the text.
    text: of an image.
    length: tokens of a text with its padding.
    most: pairs of a text.
    parse: finds pairs among words.

  Raises:
    UserError: there are more pairs, or the tokens of a word are not found.
  """
  words = vocabulary.split(text)
  found = parse(words)
  if len(found) > most:
    raise UserError(
      f"the text {shown(text)} has {len(found)} things with attributes; this"
      f" run takes {most} at most (config.pairs.most)"
    )
  owner, noun = np.full(length, -1, np.int32), np.zeros(length, bool)
  for j, pair in enumerate(found):
    for word in (*pair.attributes, pair.noun):
      tokens = _tokens(places, text, words, word)
      owner[tokens] = j
      noun[tokens] = word == pair.noun
  return Placed(owner, noun, tuple(pair.said(words) for pair in found))


def _tokens(
  places: Places, text: str, words: Sequence[str], word: int
) -> list[int]:
  """The tokens of one word of a text, which may stand there several times."""
  same = [i for i, other in enumerate(words) if other == words[word]]
  found = sorted(places(text, words[word]))
  if len(found) % len(same):
    raise UserError(
      f"the word {shown(words[word])} stands {len(same)} times in {shown(text)}"
      f" and splits into {len(found)} tokens, so that they cannot be told"
      " apart: say it in another way"
    )
  count = len(found) // len(same)
  first = same.index(word) * count
  return found[first : first + count]


@dataclasses.dataclass(frozen=True, eq=False)
class Paired:
  """A source with captions, and their pairs as fields.

  "owner": for each token the number of its pair from 1, 0 for none; "noun": 1
  for tokens of nouns; "said": the number of each pair in `sayings`.

  Attributes:
    plain: the source with captions.
    model: that reads them.
    length: tokens of a caption.
    most: pairs of a caption.
    sayings: texts of pairs -> their numbers.
  """

  plain: Any
  model: GuidableDiffusion
  length: int
  most: int
  sayings: Mapping[str, int]

  @property
  def class_names(self) -> tuple[str, ...]:
    """As in the source."""
    return self.plain.class_names

  @property
  def fields(self) -> Mapping[str, Field]:
    """Those of the source, and those of pairs."""
    own = {"owner": Tokens(self.length), "noun": Tokens(self.length)}
    return {**fields_lib.of(self.plain), **own, "said": Tokens(self.most)}

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """As in the source."""
    return self.plain.skipped

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """As in the source."""
    return self.plain.labels

  def __len__(self) -> int:
    return len(self.plain)

  def __getitem__(self, i: int) -> dict:
    text, places = self.plain.caption(i), self.model.places
    found = placed(places, text, self.length, self.most)
    said = [self.sayings[text] for text in found.said]
    return {
      **self.plain[i],
      "owner": found.owner + 1,
      "noun": found.noun.astype(np.int32),
      "said": np.array(said, np.int32),
    }

  def caption(self, i: int) -> str:
    """The text of an example."""
    return self.plain.caption(i)

  def name(self, i: int) -> str:
    """As in the source."""
    return self.plain.name(i)


def sayings(sources: Iterable[Any], most: int) -> dict[str, int]:
  """The texts of all pairs of some sources with captions, numbered.

  Args:
    sources: with captions.
    most: such texts that a run takes.

  Raises:
    UserError: there are none, or more.
  """
  said: set[str] = set()
  for source in sources:
    for i in range(len(source)):
      said.update(pairs.of_text(source.caption(i)))
  if not said:
    raise UserError(
      'no caption says a thing with an attribute, as in "a red cup": this'
      " method learns from those"
    )
  if len(said) > most:
    raise UserError(
      f"the captions say {len(said)} different things with attributes, each of"
      f" which is drawn alone; set --config.references.most={len(said)} to draw"
      " them all"
    )
  return {text: number for number, text in enumerate(sorted(said))}


def require_masks(source: Source) -> None:
  """Requires a mask of each thing.

  Raises:
    UserError: there are none.
  """
  whole, _ = origin(source)
  if "things" not in getattr(whole, "fields", {}):
    raise UserError(
      "the images of --config.data.name have no masks of their things, which"
      " the localisation loss needs: take captioned_scenes or compositional, or"
      " set --config.localisation.weight=0"
    )
