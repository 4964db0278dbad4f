"""Words that mean the same: plurals, spellings and plain synonyms.

A rule of English plurals and a small table, and no dictionary: what neither
knows stays as it is.
"""

from collections.abc import Mapping

_IRREGULAR: Mapping[str, str] = {
  "children": "child",
  "feet": "foot",
  "geese": "goose",
  "knives": "knife",
  "leaves": "leaf",
  "men": "man",
  "mice": "mouse",
  "people": "person",
  "potatoes": "potato",
  "shelves": "shelf",
  "teeth": "tooth",
  "tomatoes": "tomato",
  "wolves": "wolf",
  "women": "woman",
}
# Each to a word that is none of the first ones.
_SYNONYMS: Mapping[str, str] = {
  "automobile": "car",
  "beneath": "below",
  "bicycle": "bike",
  "big": "large",
  "color": "colour",
  "crimson": "red",
  "doggy": "dog",
  "drawing": "sketch",
  "giant": "large",
  "gray": "grey",
  "huge": "large",
  "kitten": "cat",
  "kitty": "cat",
  "little": "small",
  "mug": "cup",
  "over": "above",
  "photograph": "photo",
  "puppy": "dog",
  "scarlet": "red",
  "spotted": "dotted",
  "stripy": "striped",
  "tiny": "small",
  "under": "below",
}
_ARTICLES = frozenset(("a", "an", "the"))
_SHORTEST = 4  # letters of a plural


def singular(word: str) -> str:
  """A word that is no plural: "cups" is "cup", and "glass" stays."""
  if word in _IRREGULAR:
    return _IRREGULAR[word]
  if len(word) < _SHORTEST or word.endswith(("ss", "us", "is", "'s")):
    return word
  if word.endswith("ies"):
    return f"{word[:-3]}y"
  if word.endswith(("ches", "shes", "sses", "xes")):
    return word[:-2]
  return word.removesuffix("s")


def plain(word: str) -> str:
  """The word that stands for all that mean the same."""
  found = singular(word.casefold())
  return _SYNONYMS.get(found, found)


def meaning(name: str) -> str:
  """What names are compared by that may be said in other words."""
  every = (plain(word) for word in name.split())
  kept = [word for word in every if word not in _ARTICLES]
  return " ".join(kept) or name.casefold()
