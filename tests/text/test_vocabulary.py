"""Words as numbers, and what a text says of its things."""

import pytest

from protojax.text import pairs, vocabulary
from protojax.text.vocabulary import Vocabulary
from protojax.types import UserError


def test_words_are_numbered_behind_the_beginning():
  known = Vocabulary(("a", "red", "cup"), length=5)
  assert known.ids("A red, RED cup!") == [0, 1, 2, 2, 3]
  assert known.ids("") == [0]
  with pytest.raises(UserError, match=r"word 'rad' .* 3 .*; near: red"):
    known.ids("a rad cup")
  with pytest.raises(UserError, match="has 5 words; this model reads 4"):
    known.ids("a a a a a")


def test_the_most_frequent_words_are_kept_and_ties_are_by_letter():
  texts = ["a red cup", "a blue cup", "a cat"]
  assert vocabulary.counted(texts, 3) == ("a", "cup", "blue")


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("a red cup and a blue striped cat", ("a red cup", "a blue striped cat")),
    ("An orange cup in the snow", ("an orange cup",)),
    ("the red cup, a green wheel", ("a red cup", "a green wheel")),
    ("a cup and a red cat", ("a red cat",)),
    ("a red cup on a green table", ("a red cup",)),
    ("red cup", ()),
    ("", ()),
  ],
)
def test_pairs_of_a_text(text, expected):
  assert pairs.of_text(text) == expected


def test_a_pair_knows_the_places_of_its_words():
  words = vocabulary.split("a red cup and a blue striped cat in the fog")
  found = pairs.by_rule(words)
  assert [(p.attributes, p.noun) for p in found] == [((1,), 2), ((5, 6), 7)]
