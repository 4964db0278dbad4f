"""Words for a change and for what an image has that loses by it.

A characteristic that is changed in two directions, as with the preset
"two_sided", has a direction that costs more. The words keep it: what loses by
added grain is smooth. A characteristic that is changed in one direction is only
named, since a list of one's own may change it in either.
"""

from collections.abc import Mapping
import re
from typing import NamedTuple

from protojax.modify import presets


class _Side(NamedTuple):
  """What an image has; the reason it is; the change that costs."""

  had: str
  because: str
  changed: str


# By the modifications of "two_sided". Turned hues and bent outlines say
# nothing of what an image has, whatever their direction.
_SIDES = {
  "less contrast": _Side(
    "strong contrast", "of its strong contrast", "less contrast"
  ),
  "more contrast": _Side(
    "weak contrast", "its contrast is weak", "more contrast"
  ),
  "less saturation": _Side(
    "strong colours", "its colours are strong", "paler colours"
  ),
  "more saturation": _Side("pale colours", "it is pale", "stronger colours"),
  "less texture": _Side("grain", "of its grain", "its grain smoothed away"),
  "more texture": _Side("smoothness", "it is smooth", "grain added"),
}


def had(scores: Mapping[str, float], name: str) -> str:
  """What an image has that loses most, such as "grain" or "smoothness".

  Args:
    scores: of modifications, by their names.
    name: of a characteristic, which is the answer if no side has words.
  """
  return _worst(scores, name).had


def because(scores: Mapping[str, float], name: str) -> str:
  """The same as a reason: "because of its grain" or "because it is smooth"."""
  return f"because {_worst(scores, name).because}"


def changed(scores: Mapping[str, float], name: str) -> str:
  """The change that costs most: "with grain added", "with its hue changed"."""
  return f"with {_worst(scores, name).changed}"


def told(scores: Mapping[str, float], name: str) -> bool:
  """Whether there are words for the direction."""
  return _worst(scores, name).had != name


def _worst(scores: Mapping[str, float], name: str) -> _Side:
  """The words of the side that costs more."""
  own = [s for s, of in presets.SIDES.items() if of == name and s in scores]
  side = max(own, key=lambda s: scores[s], default="")
  # "contrast 0.45" is of a sweep over strengths.
  bare = re.sub(r" [-+.e\d]+$", "", name)
  return _SIDES.get(side, _Side(name, f"of its {bare}", f"its {bare} changed"))
