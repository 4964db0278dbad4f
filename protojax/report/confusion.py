"""Which classes are taken for which: the confusion matrix of a report.

Of many classes the matrix would be a field of zeros: then the pairs that are
confused most are listed instead.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protojax.explain.evidence import LocalExplanation

# The most for a matrix, and pairs of a list.
_CLASSES, _PAIRS = 20, 30


class Class(NamedTuple):
  """One class: a row of the matrix.

  Attributes:
    name: of the class.
    right: how many of its images are recognised.
    images: how many there are.
    taken_for: number of images for each answer, in the order of the classes;
      empty without a matrix.
  """

  name: str
  right: int
  images: int
  taken_for: tuple[int, ...]


class Pair(NamedTuple):
  """Images of one class that were taken for another."""

  label: str
  answer: str
  images: int


class Confusion(NamedTuple):
  """The answers to all images whose class is known.

  Attributes:
    names: of the columns of the matrix; empty if there is none.
    classes: the rows, in the order in which classes were met.
    pairs: what is confused most, the most first; empty beside a matrix.
    shown: (label, answer) -> (split, index) of an image that is shown.
  """

  names: tuple[str, ...]
  classes: tuple[Class, ...]
  pairs: tuple[Pair, ...]
  shown: Mapping[tuple[str, str], tuple[str, int]]


def of(
  answers: Mapping[tuple[str, str], int], images: Sequence[LocalExplanation]
) -> Confusion | None:
  """The confusion of a report; None without labels.

  Args:
    answers: (label, predicted class) -> number of images.
    images: those that are shown.
  """
  if not answers:
    return None
  names = sorted({name for pair in answers for name in pair})
  matrix = len(names) <= _CLASSES
  classes = tuple(
    Class(
      name,
      answers.get((name, name), 0),
      sum(n for (label, _), n in answers.items() if label == name),
      tuple(answers.get((name, x), 0) for x in names) if matrix else (),
    )
    for name in names
  )
  wrong = sorted(
    (Pair(*pair, n) for pair, n in answers.items() if len({*pair}) == 2),
    key=lambda pair: (-pair.images, pair),
  )
  shown = {}
  for e in images:
    if e.label is not None:
      pair = e.label, e.predicted.class_name
      shown.setdefault(pair, (e.split, e.index))
  return Confusion(
    tuple(names) if matrix else (),
    classes,
    () if matrix else tuple(wrong[:_PAIRS]),
    shown,
  )
