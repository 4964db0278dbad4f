"""What prototypes are sorted under, and what else is said of them."""

from typing import NamedTuple

# Prototypes of a class are patches of its images and speak for it.
CLASS = "class"

# What a method says of a prototype beside its scores.
Note = str | float


class Groups(NamedTuple):
  """The groups that prototypes stand in.

  Attributes:
    kind: "class" where prototypes belong to classes; otherwise what a group
      is: "concept", or "favourite" for the class a prototype speaks most for.
    names: what the state's buffer "class_of" points into.
  """

  kind: str
  names: tuple[str, ...]
