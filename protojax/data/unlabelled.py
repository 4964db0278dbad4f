"""Images whose labels are not the model's: a folder without regard to it."""

import dataclasses

from jaxtyping import Int32, UInt8
import numpy as np

from protojax.data.source import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Unlabelled:
  """The images of a source, of none of a model's classes as far as is known.

  Attributes:
    whole: the source.
    class_names: of the model, by label.
  """

  whole: Source
  class_names: tuple[str, ...]

  @property
  def skipped(self) -> tuple[tuple[str, str], ...]:
    """Those of the whole."""
    return self.whole.skipped

  @property
  def labels(self) -> Int32[np.ndarray, "n"]:
    """-1 for every image."""
    return np.full(len(self.whole), -1, np.int32)

  def __len__(self) -> int:
    return len(self.whole)

  def __getitem__(self, i: int) -> dict:
    return {**self.whole[i], "label": -1}

  def name(self, i: int) -> str:
    """What the whole calls the image."""
    return self.whole.name(i)

  def digest(self, i: int) -> UInt8[np.ndarray, "16"]:
    """Hash of the pixels of one image."""
    return self.whole.digest(i)


def of_classes(source: Source, class_names: tuple[str, ...]) -> Source:
  """The source where it has these classes; else without its labels."""
  if tuple(source.class_names) == class_names:
    return source
  return Unlabelled(source, class_names)
