"""The pairs of texts among their tokens."""

import numpy as np
import pytest

from protojax import methods
from protojax.configs import text_to_image_folder
from protojax.methods.base import needed
from protojax.methods.vsc import pairing
from protojax.text import pairs, vocabulary
from protojax.types import UserError

TEXT = "a red cup and a blue striped cat in the snow"


@pytest.fixture(scope="module")
def places():
  method = methods.load(text_to_image_folder.get_config("debug"))
  return needed(method, "guidable").places


def _splitting(pieces):
  """Of a model whose words have so many tokens; one is of its beginning."""

  def places(text, word):
    found, at = [], 1
    for other in vocabulary.split(text):
      count = pieces.get(other, 1)
      found += range(at, at + count) if other == word else []
      at += count
    return tuple(found)

  return places


def test_words_have_their_pairs(places):
  found = pairing.placed(places, TEXT, 16, 4)
  owner = [-1, -1, 0, 0, -1, -1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1]
  np.testing.assert_array_equal(found.owner, owner)
  np.testing.assert_array_equal(np.flatnonzero(found.noun), [3, 8])
  assert found.said == ("a red cup", "a blue striped cat")
  assert pairing.placed(places, "a cup", 16, 4).said == ()


def test_a_parser_of_ones_own_finds_the_pairs(places):
  """This one knows that an adjective may stand behind its noun."""

  def parse(words):
    at = words.index("cup")
    return (pairs.Pair((at + 2,), at),)

  found = pairing.placed(places, "a cup is red", 16, 4, parse)
  np.testing.assert_array_equal(np.flatnonzero(found.owner == 0), [2, 4])
  assert found.said == ("a red cup",)


def test_a_word_that_stands_twice_is_told_apart(places):
  found = pairing.placed(places, "a red cup and a red cat", 16, 4)
  np.testing.assert_array_equal(np.flatnonzero(found.owner == 0), [2, 3])
  np.testing.assert_array_equal(np.flatnonzero(found.owner == 1), [6, 7])


def test_a_word_that_splits_has_all_its_tokens():
  places = _splitting({"striped": 3, "red": 2})
  text = "a red cat and a red striped cup"
  found = pairing.placed(places, text, 16, 4)
  np.testing.assert_array_equal(np.flatnonzero(found.owner == 0), [2, 3, 4])
  second = [7, 8, 9, 10, 11, 12]
  np.testing.assert_array_equal(np.flatnonzero(found.owner == 1), second)
  np.testing.assert_array_equal(np.flatnonzero(found.noun), [4, 12])


def test_tokens_that_cannot_be_told_apart_are_refused():

  def places(text, word):
    return 1, 2, 3

  with pytest.raises(UserError, match=r"stands 2 times .* into 3 tokens"):
    pairing.placed(places, "a red cat and a red cup", 16, 4)


def test_more_pairs_than_a_run_takes_are_refused(places):
  with pytest.raises(UserError, match=r"has 2 things .* takes 1 at most"):
    pairing.placed(places, TEXT, 16, 1)


def test_all_that_captions_say_is_numbered():
  def source(*texts):
    return type(
      "Source",
      (),
      {"__len__": lambda self: len(texts), "caption": lambda self, i: texts[i]},
    )()

  found = pairing.sayings((source("a red cup"), source("a blue cat")), 2)
  assert found == {"a blue cat": 0, "a red cup": 1}
  with pytest.raises(UserError, match=r"say 2 different things(.|\n)*most=2"):
    pairing.sayings((source("a red cup and a blue cat"),), 1)
  with pytest.raises(UserError, match="no caption says a thing"):
    pairing.sayings((source("a cup", "snow"),), 4)
