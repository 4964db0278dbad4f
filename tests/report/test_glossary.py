"""Words of the report that depend on numbers."""

import pytest

from protojax.explain.evidence import Patch
from protojax.report import glossary
from protojax.types import Box


def _patch(box, on_object=None):
  return Patch("a", 0, 0, box, box, on_object=on_object)


@pytest.mark.parametrize(
  ("box", "words"),
  [
    (Box(10, 10, 50, 50), ""),
    (Box(2, 10, 50, 50), "the edge of its image: its box is 3 % of the side"),
    (Box(10, 10, 50, 62), "the edge of its image: its box is 3 % of the side"),
    (Box(0, 40, 20, 64), "a corner of its image: its box touches"),
    # A band across the image is at its edge.
    (Box(0, 0, 20, 64), "the edge of its image: its box touches"),
  ],
)
def test_a_prototype_at_the_border(box, words):
  assert words in glossary.where(_patch(box), 64)
  assert bool(glossary.where(_patch(box), 64)) == bool(words)


def test_where_objects_are_marked_the_share_on_them_is_told():
  box = Box(0, 40, 20, 64)
  assert glossary.where(_patch(box, 0.04), 64) == (
    "It looks at the background: 4 % of its box is on a marked object."
  )
  assert glossary.where(_patch(box, 0.8), 64) == (
    "80 % of its box is on a marked object."
  )
