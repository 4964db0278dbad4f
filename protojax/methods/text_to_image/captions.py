"""Sources with captions as sources of tokens."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from jaxtyping import Int
from ml_collections import ConfigDict
import numpy as np

from protojax.data import fields as fields_lib
from protojax.data.fields import Field, Tokens
from protojax.data.source import Source, origin
from protojax.datasets import dataset
from protojax.datasets.dataset import Dataset
from protojax.text import vocabulary
from protojax.text.vocabulary import Vocabulary
from protojax.types import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Captioned:
  """A source, and the words of its captions as the field "caption".

  Attributes:
    plain: the source; the one behind it has `captions`, a text for each
      example.
    vocabulary: that numbers the words.
  """

  plain: Source
  vocabulary: Vocabulary

  @property
  def class_names(self) -> tuple[str, ...]:
    """The words: a run keeps them where others keep their classes."""
    return self.vocabulary.words

  @property
  def fields(self) -> Mapping[str, Field]:
    """Those of the source, and "caption"."""
    own = dict(fields_lib.of(self.plain))
    # Classes of things are not the words.
    own.pop("label", None)
    return {**own, "caption": Tokens(self.vocabulary.length)}

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """As in the source."""
    return self.plain.skipped

  @property
  def labels(self) -> Int[np.ndarray, " n"]:
    """-1 for each."""
    return np.full(len(self), -1, np.int32)

  def __len__(self) -> int:
    return len(self.plain)

  def __getitem__(self, i: int) -> dict:
    ids = np.array(self.vocabulary.ids(self.caption(i)), np.int32)
    return {**self.plain[i], "caption": ids}

  def caption(self, i: int) -> str:
    """The text of an example."""
    whole, rows = origin(self.plain)
    return whole.captions[int(rows[i])]  # pyrefly: ignore[missing-attribute]

  def name(self, i: int) -> str:
    """As in the source."""
    return self.plain.name(i)


class CaptionedDataset(Dataset):
  """A data set whose examples have captions; see `dataset.Dataset`."""

  def __init__(self, config: ConfigDict, words: tuple[str, ...] | None) -> None:
    """Opens nothing yet.

    Args:
      config: of the run.
      words: of a trained run; None: those of the data.
    """
    self._text, self._words = config.text, words
    super().__init__(
      config.data, config.seed, config.batch_size, words, self._opened
    )

  def source(self, split: str) -> Source:
    """The examples of a split.

    To plan a run without its data, as many words are taken as a run knows at
    most.

    Raises:
      UserError: they are not there, or have no captions.
    """
    found = super().source(split)
    if not isinstance(found, Captioned):
      words = tuple(f"word {k}" for k in range(self._text.words))
      found = Captioned(found, Vocabulary(words, self._text.length))
      self.sources[split] = found
    return found

  def _opened(self, data: Any, split: str, seed: int) -> Captioned:
    plain = _texts(dataset.open_split(data, split, seed), data.name)
    known = self._words
    if known is None:
      train = plain
      if split != "train":
        train = _texts(dataset.open_split(data, "train", seed), data.name)
      known = _words(train, self._text.words)
    return Captioned(plain, Vocabulary(known, self._text.length))


def _words(source: Source, most: int) -> tuple[str, ...]:
  whole, rows = origin(source)
  declared = getattr(whole, "words", None)
  if declared is not None:
    return tuple(declared)
  texts = whole.captions  # pyrefly: ignore[missing-attribute]
  return vocabulary.counted((texts[int(i)] for i in rows), most)


def _texts(source: Source, name: str) -> Source:
  """The source, if its examples have captions.

  Raises:
    UserError: they have none.
  """
  if not hasattr(origin(source)[0], "captions"):
    raise UserError(
      f"--config.data.name={name}: its images have no captions; take"
      " captioned_scenes, or captioned_folder with --config.data.root=DIR"
    )
  return source


def tokens(texts: Sequence[str], vocabulary: Vocabulary) -> dict:
  """{"tokens": int32 [n l], "valid": bool [n l]} of texts.

  Raises:
    UserError: a word is not known, or a text is too long.
  """
  ids = np.zeros((len(texts), vocabulary.length), np.int32)
  valid = np.zeros((len(texts), vocabulary.length), bool)
  for i, text in enumerate(texts):
    found = vocabulary.ids(text)
    ids[i, : len(found)] = found
    valid[i, : len(found)] = True
  return {"tokens": ids, "valid": valid}
