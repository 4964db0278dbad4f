"""What every backbone hands to the rest: a module and the facts about it.

A backbone is the first step of every method: image -> features. The modules
of this package that declare `NAMES` and `load` are the backbones.
"""

from collections.abc import Callable
import dataclasses
from typing import Any, Literal

from flax import linen as nn

# TensorFlow's "SAME" depends on the size of the map; numbers do not.
Padding = Literal["SAME", "VALID"] | tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Layer:
  """One spatial step of a network, as receptive fields need it.

  Attributes:
    kernel: side of the square kernel.
    stride: step of the kernel, in cells of the map before it.
    padding: "SAME" as TensorFlow pads, "VALID" for none, or the cells (before,
      after) added on each axis.
  """

  kernel: int
  stride: int = 1
  padding: Padding = "SAME"


@dataclasses.dataclass(frozen=True)
class Backbone:
  """A feature extractor and what the rest must know about it.

  Attributes:
    module: Linen module, `module(images [b, H, W, 3], train) -> [b, h, w, d]`,
      for images normalised by `mean` and `std`.
    mean: of red, green and blue, in units of pixels scaled to 0..1.
    std: the same, to divide by.
    stride: pixels of the image from one cell to the next.
    layers: the spatial steps in order, for `receptive_field.chain`. Steps that
      see one cell at a time are left out.
    channels: d.
    pretrained: gives {"params", "batch_stats"} of NumPy arrays; None where
      there are no weights to start from.
  """

  module: nn.Module
  mean: tuple[float, float, float]
  std: tuple[float, float, float]
  stride: int
  layers: tuple[Layer, ...]
  channels: int
  pretrained: Callable[[], dict[str, Any]] | None = None
