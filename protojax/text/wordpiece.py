"""BERT's tokeniser, uncased: words -> pieces of the vocabulary.

Devlin et al. (2019), as in the authors' `tokenization.py`: characters are
cleaned, brought to lower case and stripped of accents; words are split at
blanks and punctuation, then into the longest pieces that the vocabulary has.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
from pathlib import Path
import unicodedata

from protojax import text_files
from protojax.text.encoder import Tokens, padded, require_length
from protojax.types import UserError

_BEGIN, _END, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_SPECIAL = ("[PAD]", _UNKNOWN, _BEGIN, _END, "[MASK]")
# A longer word is unknown as a whole.
_LONGEST_WORD = 100
# First and last code points of Chinese characters, which are words by
# themselves.
_CHINESE = (
  (0x4E00, 0x9FFF),
  (0x3400, 0x4DBF),
  (0x20000, 0x2A6DF),
  (0x2A700, 0x2B73F),
  (0x2B740, 0x2B81F),
  (0x2B820, 0x2CEAF),
  (0xF900, 0xFAFF),
  (0x2F800, 0x2FA1F),
)
_ASCII_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclasses.dataclass(frozen=True, eq=False)
class WordPiece:
  """Texts -> tokens, with one before and one behind each text.

  Attributes:
    rows: piece -> its row in the vocabulary.
    most: tokens of a text.
  """

  rows: Mapping[str, int]
  most: int = 512

  def __call__(self, texts: Sequence[str]) -> Tokens:
    """Tokens of texts.

    Raises:
      UserError: a text has too many.
    """
    found = [self._ids(text) for text in texts]
    require_length(texts, found, self.most)
    return padded(found)

  def pieces(self, text: str) -> list[str]:
    """The pieces of a text, without those of its ends."""
    return [piece for word in words(text) for piece in self._split(word)]

  def _ids(self, text: str) -> list[int]:
    return [self.rows[x] for x in (_BEGIN, *self.pieces(text), _END)]

  def _split(self, word: str) -> list[str]:
    """The longest pieces of a word, from left to right."""
    if len(word) > _LONGEST_WORD:
      return [_UNKNOWN]
    found, begin = [], 0
    while begin < len(word):
      for end in range(len(word), begin, -1):
        piece = "##" * (begin > 0) + word[begin:end]
        if piece in self.rows:
          found.append(piece)
          begin = end
          break
      else:
        return [_UNKNOWN]
    return found


def read(path: str | Path) -> WordPiece:
  """The tokeniser of a file with a piece in each line, as `vocab.txt`.

  Raises:
    UserError: the file cannot be read, or is no vocabulary of BERT.
  """
  lines = text_files.read(path).split("\n")
  rows = {line.rstrip("\r"): n for n, line in enumerate(lines)}
  if missing := [name for name in _SPECIAL if name not in rows]:
    raise UserError(
      f"{path} is no vocabulary of BERT: it has no line {', '.join(missing)}"
    )
  return WordPiece(rows)


def words(text: str) -> list[str]:
  """The words of a text: in lower case, without accents, punctuation apart."""
  spaced = "".join(_spaced(_cleaned(text))).lower()
  # Accents are characters of their own in this form.
  bare = "".join(
    c
    for c in unicodedata.normalize("NFD", spaced)
    if unicodedata.category(c) != "Mn"
  )
  return [part for word in bare.split() for part in _apart(word)]


def _cleaned(text: str) -> Iterator[str]:
  """Characters without those that nobody sees; every blank is a space."""
  for c in text:
    category = unicodedata.category(c)
    if c in "\t\n\r" or category == "Zs":
      yield " "
    elif c not in "\0\ufffd" and category not in ("Cc", "Cf", "Cn", "Co"):
      yield c


def _spaced(characters: Iterator[str]) -> Iterator[str]:
  """Blanks around Chinese characters."""
  for c in characters:
    chinese = any(low <= ord(c) <= high for low, high in _CHINESE)
    yield f" {c} " if chinese else c


def _apart(word: str) -> Iterator[str]:
  """A word in parts; each character of punctuation is one."""
  part = ""
  for c in word:
    if c in _ASCII_PUNCTUATION or unicodedata.category(c).startswith("P"):
      if part:
        yield part
      yield c
      part = ""
    else:
      part += c
  if part:
    yield part
