"""Where on the grid the images of each class should fall."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float32
import numpy as np

from protojax.data.source import origin
from protojax.datasets import emotions
from protojax.types import UserError


def of_classes(
  class_names: Sequence[str], given: Sequence[str], source: Any
) -> Float32[np.ndarray, "k 2"]:
  """The place of each class.

  Args:
    class_names: of the student.
    given: by the config, such as "happiness=0.8/0.4"; they go first.
    source: of the training images; its `anchors`, if it has some, go second,
      and the eight emotions by their names third.

  Raises:
    UserError: a class has no place, or the config names no class.
  """
  typed = _typed(given)
  if unknown := sorted(set(typed) - set(class_names)):
    raise UserError(
      f"--config.anchors names {', '.join(unknown)}; the classes are"
      f" {', '.join(class_names)}"
    )
  whole, _ = origin(source)
  declared: Mapping[str, tuple[float, float]] = getattr(whole, "anchors", {})
  found = []
  for name in class_names:
    place = typed.get(name) or declared.get(name)
    word = emotions.known(name)
    if place is None and word is not None:
      place = emotions.ANCHORS[word]
    if place is None:
      raise UserError(
        f"the class {name!r} has no place on the grid: give it one with"
        f" --config.anchors=\"('{name}=0.5/-0.2',)\", the first and the second"
        " number of the grid"
      )
    found.append(place)
  return np.array(found, np.float32)


def _typed(given: Sequence[str]) -> dict[str, tuple[float, float]]:
  found = {}
  for text in given:
    name, _, place = text.rpartition("=")
    try:
      first, second = map(float, place.split("/"))
    except ValueError as error:
      raise UserError(
        f"--config.anchors has {text!r}; expected a class and two numbers, such"
        " as 'happiness=0.8/0.4'"
      ) from error
    if not np.isfinite([first, second]).all():
      raise UserError(f"--config.anchors has {text!r}; both must be finite")
    found[name] = first, second
  return found
