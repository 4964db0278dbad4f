"""Examples of a source without what is known of them.

A method that must not see the labels of a stream reads it through this.
"""

from collections.abc import Mapping
import dataclasses

from jaxtyping import Int32
import numpy as np

from protojax.data import fields as fields_lib
from protojax.data.fields import Field, Grid, Group, Pixels
from protojax.data.source import Source, origin

# Fields that say nothing of what is shown.
_SHOWN = Pixels, Grid, Group


@dataclasses.dataclass(frozen=True, eq=False)
class Unlabelled:
  """A source whose fields of classes are never given; see `source.Source`.

  Attributes:
    whole: the source.
  """

  whole: Source

  @property
  def fields(self) -> Mapping[str, Field]:
    """Images and groups alone."""
    found = fields_lib.of(self.whole)
    return {n: f for n, f in found.items() if isinstance(f, _SHOWN)}

  @property
  def class_names(self) -> tuple[str, ...]:
    """None."""
    return ()

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """As in the whole source."""
    return self.whole.skipped

  @property
  def labels(self) -> Int32[np.ndarray, " n"]:
    """-1 for each."""
    return np.full(len(self.whole), -1, np.int32)

  @property
  def groups(self) -> Int32[np.ndarray, " n"] | None:
    """As in the whole source."""
    whole, rows = origin(self.whole)
    found = getattr(whole, "groups", None)
    return None if found is None else np.asarray(found)[rows]

  def __len__(self) -> int:
    return len(self.whole)

  def __getitem__(self, i: int) -> dict:
    given = self.whole[i]
    return {
      name: given[name] for name in (*self.fields, "name") if name in given
    }

  def name(self, i: int) -> str:
    """As in the whole source."""
    return self.whole.name(i)
