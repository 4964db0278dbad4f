"""The interface of methods that make images; see `base.Capabilities`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import UInt8

from protojax.types import Array, ArrayLike, State


class Generates(Protocol):
  """A method that makes images.

  Image i of a draw depends on the state, its conditions, the key and i alone:
  not on how many are made together, or on how many devices.
  """

  @property
  def class_names(self) -> tuple[str, ...]:
    """What an image can be asked to show; index = "label" of the conditions."""
    ...

  def generate(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> UInt8[ArrayLike, "count H W c"]:
    """New images, the numbers `start` to `start + count - 1` of a draw.

    Args:
      state: of the method.
      conditions: what the images shall show, by name; what is not there is as
        the run's config says. "label": a class, or one for each image; without
        it, the classes take turns. "prompt": a text, or one for each image, of
        a method that has texts in place of classes. "guidance": weight of label
        or text, 1 for none. "steps": of the sampler.
      key: of the randomness; the same key gives the same images.
      count: number of images.
      start: the number of the first one.

    Raises:
      UserError: there is no such class, or a number is out of range.
    """
    ...

  def traced(
    self,
    state: State,
    conditions: Mapping[str, Any],
    key: Array,
    count: int,
    start: int = 0,
  ) -> tuple[UInt8[ArrayLike, "count H W c"], Mapping[str, ArrayLike]]:
    """`generate`, and which prototype acted where.

    Returns:
      The images, and arrays by name with the image as first axis; empty for a
      method without prototypes.
    """
    ...


@runtime_checkable
class Illustrates(Generates, Protocol):
  """A method that makes images of texts: `Generates` with a "prompt"."""

  def texts(self, prompt: Any, count: int, start: int = 0) -> Sequence[str]:
    """The text of each image of a draw.

    Args:
      prompt: the condition of that name: one text, one for each image, or None
        where nothing is asked for.
      count: number of images.
      start: the number of the first one.
    """
    ...
