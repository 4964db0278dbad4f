"""The groups that prototypes are sorted into, and notes on prototypes."""

from typing import NamedTuple

# Each prototype is a patch of an image of its class, and speaks for that class.
CLASS = "class"
# Prototypes belong to no class; each is sorted under the class that it speaks
# for most.
FAVOURITE = "favourite"

# A fact about a prototype beside its scores.
Note = str | float


class Groups(NamedTuple):
  """The groups that prototypes are sorted into.

  Attributes:
    kind: what a group is: "class", "concept", or "favourite" for the class that
      a prototype speaks for most.
    names: of the groups; the state's buffer "class_of" holds their indices.
  """

  kind: str
  names: tuple[str, ...]
