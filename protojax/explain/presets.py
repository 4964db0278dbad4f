"""Which modifications go together: the columns of a table of scores."""

import dataclasses

from protojax.explain.perturb import Modification
from protojax.types import UserError


@dataclasses.dataclass(frozen=True)
class Preset:
  """Modifications and what is made of them; hashable.

  Attributes:
    name: what to call it.
    modifications: the axis m of all scores; the first is "identity", the
      control that changes nothing.
    own_cell: compare with the nearest cell of the modified image itself
      instead of that of the unchanged one.
    weighted: weigh images by their similarity in the global scores instead of
      taking the plain mean.

  Raises:
    UserError: no control, or two modifications of one name.
  """

  name: str
  modifications: tuple[Modification, ...]
  own_cell: bool = False
  weighted: bool = True

  def __post_init__(self):
    if self.names[:1] != ("identity",):
      raise UserError(
        f"preset {self.name}: its first modification must be identity, the"
        f" control; the modifications are {', '.join(self.names) or 'none'}"
      )
    twice = sorted({n for n in self.names if self.names.count(n) > 1})
    if twice:
      raise UserError(
        f"preset {self.name}: several modifications are called"
        f" {', '.join(twice)}; give each a name of its own"
      )

  @property
  def names(self) -> tuple[str, ...]:
    """Of the modifications."""
    return tuple(m.name for m in self.modifications)


# The strengths of the reference implementation; brightness, which it computes
# but does not count among the characteristics, comes last.
REFERENCE = Preset(
  "reference",
  (
    Modification("identity", "identity"),
    Modification("contrast", "contrast", (0.45,)),
    Modification("saturation", "saturation", (0.7,)),
    Modification("hue", "hue", (0.1,)),
    Modification("shape", "warp", (4.0, 0.05)),
    Modification("texture", "texture", (4.0,)),
    Modification("brightness", "brightness", (0.8,)),
  ),
)
