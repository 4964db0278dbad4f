"""What prototypes are sorted under, and what else is said of them."""

from typing import NamedTuple

# Prototypes of a class are patches of its images and speak for it.
CLASS = "class"
# Prototypes are of no class; the group is the one each speaks most for.
FAVOURITE = "favourite"

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

  @property
  def by_points(self) -> bool:
    """Whether what is most like an image says less of it than most points.

    A channel may fire in every image and speak for no class; prototypes of a
    class speak for it as far as they are alike.
    """
    return self.kind == FAVOURITE
