"""Words for changes: the direction that costs more is kept."""

import pytest

from protojax.modify import presets, sides


@pytest.mark.parametrize(
  ("worse", "expected"),
  [
    (
      "more texture",
      ("smoothness", "because it is smooth", "with grain added"),
    ),
    (
      "less texture",
      ("grain", "because of its grain", "with its grain smoothed away"),
    ),
    (
      "more saturation",
      ("pale colours", "because it is pale", "with stronger colours"),
    ),
    ("hue back", ("hue", "because of its hue", "with its hue changed")),
  ],
)
def test_words_of_the_side_that_costs_more(worse, expected):
  scores = dict.fromkeys(presets.TWO_SIDED.names, 0.1) | {worse: 0.5}
  name = presets.SIDES[worse]
  words = (of(scores, name) for of in (sides.had, sides.because, sides.changed))
  assert tuple(words) == expected
  assert sides.told(scores, name) == (expected[0] != name)


def test_what_changed_in_one_direction_is_only_named():
  scores = {"contrast 0.45": 0.2, "texture": 0.1}
  assert sides.had(scores, "texture") == "texture"
  assert not sides.told(scores, "texture")
  assert sides.changed(scores, "contrast 0.45") == "with its contrast changed"


def test_every_side_that_says_what_an_image_has_has_words():
  silent = {"hue forward", "hue back", "long waves", "short waves"}
  for side, name in presets.SIDES.items():
    assert sides.told({side: 1.0}, name) == (side not in silent)
