"""Words of the report that depend on numbers."""

import pytest

from protojax.report import glossary
from protojax.types import Box


@pytest.mark.parametrize(
  ("box", "words"),
  [
    (Box(10, 10, 50, 50), ""),
    (Box(2, 10, 50, 50), "looks at the edge of its image"),
    (Box(10, 10, 50, 62), "looks at the edge of its image"),
    (Box(0, 40, 20, 64), "looks at a corner of its image"),
    # A band across the image is at its edge.
    (Box(0, 0, 20, 64), "looks at the edge of its image"),
  ],
)
def test_a_prototype_at_the_border(box, words):
  assert glossary.at_border(box, 64) == words
