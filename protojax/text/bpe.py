"""CLIP's tokeniser: byte pair encoding of words in lower case.

Sennrich et al. (2016); Radford et al. (2021). Bytes stand for themselves as
characters that can be printed. In each word the pair of neighbours that comes
first in the list of merges becomes one, until no pair is in the list.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import gzip
import html
import itertools
from pathlib import Path
from typing import Any, TypedDict
import unicodedata
import zlib

from protojax import json_files, text_files
from protojax.shown import shown
from protojax.text.encoder import Tokens, padded, require_length
from protojax.types import UserError
from protojax.writing import first_line

_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
# Behind the last piece of a word.
_STOP = "</w>"
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
# OpenAI's file has more merges than CLIP uses.
_MERGES = 49_152 - 256 - 2
# Bytes of the text behind the .gz of OpenAI: 3.2 million.
_MOST_BYTES = 64 << 20


class _Model(TypedDict):
  """Of a tokenizer.json."""

  vocab: dict[str, int]


class _Tokenizer(TypedDict):
  """A tokenizer.json."""

  model: _Model


@dataclasses.dataclass(frozen=True, eq=False)
class BytePairs:
  """Prompts -> tokens, with one before and one behind each prompt.

  Attributes:
    rows: piece -> its row in the vocabulary.
    ranks: pair of pieces -> its place in the list of merges.
    most: tokens of a prompt.
  """

  rows: Mapping[str, int]
  ranks: Mapping[tuple[str, str], int]
  most: int

  def __call__(self, texts: Sequence[str]) -> Tokens:
    """Tokens of prompts.

    Raises:
      UserError: a prompt has too many.
    """
    found = [
      [self.rows[_BEGIN], *map(self.rows.__getitem__, pieces), self.rows[_END]]
      for pieces in map(self.pieces, texts)
    ]
    require_length(texts, found, self.most)
    return padded(found)

  def pieces(self, text: str) -> list[str]:
    """The pieces of a text, without those of its ends."""
    return [piece for word in words(text) for piece in self._merged(word)]

  def _merged(self, word: str) -> list[str]:
    """A word's characters, merged pair by pair."""
    if word in (_BEGIN, _END):
      return [word]
    letters = [_characters()[byte] for byte in word.encode()]
    found = [*letters[:-1], letters[-1] + _STOP]
    while len(found) > 1:
      pairs = set(itertools.pairwise(found))
      best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
      if best not in self.ranks:
        break
      found = list(_joined(found, best))
    return found


def _joined(pieces: Sequence[str], pair: tuple[str, str]) -> Iterator[str]:
  """Pieces with every such pair of neighbours made one, from left to right."""
  i = 0
  while i < len(pieces):
    if tuple(pieces[i : i + 2]) == pair:
      yield pieces[i] + pieces[i + 1]
      i += 2
    else:
      yield pieces[i]
      i += 1


def words(text: str) -> list[str]:
  """Words, single digits and runs of other signs of a text in lower case."""
  text = html.unescape(html.unescape(text))
  text = " ".join(text.split()).lower()
  found, i = [], 0
  while i < len(text):
    end = _word(text, i)
    if not text[i].isspace():
      found.append(text[i:end])
    i = end
  return found


def _word(text: str, begin: int) -> int:
  """The end of the word that begins there."""
  for fixed in (_BEGIN, _END, *_CONTRACTIONS):
    if text.startswith(fixed, begin):
      return begin + len(fixed)
  kind, end = _kind(text[begin]), begin + 1
  # Digits stand alone.
  while kind != "N" and end < len(text) and _kind(text[end]) == kind:
    end += 1
  return end


def _kind(character: str) -> str:
  """ "L", a letter, "N", a number, " ", a blank, or "", anything else."""
  if character.isspace():
    return " "
  category = unicodedata.category(character)[0]
  return category if category in "LN" else ""


@functools.cache
def _characters() -> tuple[str, ...]:
  """The character that stands for each byte.

  Those of Latin-1 that can be printed stand for themselves, the others for the
  characters from 256 on.
  """
  printed = {
    *range(ord("!"), ord("~") + 1),
    *range(ord("¡"), ord("¬") + 1),
    *range(ord("®"), ord("ÿ") + 1),
  }
  found, more = [], 256
  for byte in range(256):
    found.append(chr(byte if byte in printed else more))
    more += byte not in printed
  return tuple(found)


def from_merges(merges: Sequence[tuple[str, str]], most: int) -> BytePairs:
  """The tokeniser of a list of merges, with CLIP's order of the vocabulary.

  Args:
    merges: pairs of pieces, the first to be merged first.
    most: tokens of a prompt.
  """
  # As OpenAI lists the bytes: the printed ones before the others.
  letters = sorted(_characters())
  pieces = [
    *letters,
    *(letter + _STOP for letter in letters),
    *(a + b for a, b in merges),
    _BEGIN,
    _END,
  ]
  rows = {piece: n for n, piece in enumerate(pieces)}
  return BytePairs(rows, {pair: n for n, pair in enumerate(merges)}, most)


def read(path: str | Path, most: int) -> BytePairs:
  """The tokeniser of a file.

  Args:
    path: OpenAI's bpe_simple_vocab_16e6.txt.gz; or merges.txt or tokenizer.json
      of Hugging Face.
    most: tokens of a prompt.

  Raises:
    UserError: the file cannot be read, or holds no merges.
  """
  return from_merges(_merges(Path(path)), most)


def read_folder(folder: str | Path, most: int) -> BytePairs:
  """The tokeniser of a folder of Hugging Face, with its own order of pieces.

  Args:
    folder: with vocab.json and merges.txt, or with tokenizer.json.
    most: tokens of a prompt.

  Raises:
    UserError: a file is missing or cannot be read; or the vocabulary lacks a
      piece that the merges make.
  """
  path = Path(folder) / "vocab.json"
  if path.exists():
    rows = json_files.read_json(path, dict[str, int])
    merges = _merges(path.with_name("merges.txt"))
  else:
    path = path.with_name("tokenizer.json")
    if not path.exists():
      raise UserError(
        f"{folder} has neither vocab.json nor tokenizer.json; expected the"
        " tokeniser of CLIP"
      )
    model = json_files.read_json(path, _Tokenizer)["model"]
    rows, merges = model["vocab"], _merges(path)
  usual = from_merges(merges, most)
  if lacks := sorted(set(usual.rows) - set(rows)):
    raise UserError(
      f"{path} lacks {len(lacks)} pieces of CLIP's vocabulary, such as"
      f" {shown(lacks[0])}; expected the tokeniser of CLIP"
    )
  return dataclasses.replace(usual, rows=rows)


def _merges(path: Path) -> list[tuple[str, str]]:
  if path.suffix == ".json":
    content = json_files.read_json(path, dict[str, Any])
    model = content.get("model")
    lines = model.get("merges", ()) if isinstance(model, dict) else ()
    pairs = [x.split(" ") if isinstance(x, str) else x for x in lines]
  else:
    text = _unpacked(path) if path.suffix == ".gz" else text_files.read(path)
    # The first line tells the version.
    lines = text.splitlines()[1:]
    pairs = [line.split() for line in lines if line.strip()]
  pairs = pairs[:_MERGES]
  for n, pair in enumerate(pairs, 1):
    if len(pair) != 2 or not all(isinstance(x, str) for x in pair):
      raise UserError(
        f"{path} is no list of merges: number {n} is {pair!s:.60}, expected"
        " two pieces of words"
      )
  if not pairs:
    raise UserError(f"{path} is no vocabulary of CLIP: it has no merges")
  return [(a, b) for a, b in pairs]


def _unpacked(path: Path) -> str:
  with text_files.opened(path) as raw:
    try:
      with gzip.open(raw) as file:
        content = file.read(_MOST_BYTES + 1)
      if len(content) > _MOST_BYTES:
        raise UserError(f"{path} has more than {_MOST_BYTES:,} bytes, unpacked")
      return content.decode("utf-8")
    except (OSError, EOFError, ValueError, zlib.error) as error:
      raise UserError(
        f"{path} is no vocabulary of CLIP: {first_line(error)}"
      ) from error
