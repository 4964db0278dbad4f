"""What commands ask of CoMEL: its classes."""

from typing import Any

from protojax.prototypes.groups import CLASS, Groups


class Classifier:
  """The `classifies` of CoMEL."""

  def __init__(self, method: Any) -> None:
    self.class_names = tuple(method.dataset.class_names)
    self.groups = Groups(CLASS, self.class_names)
