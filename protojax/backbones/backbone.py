"""Backbone: a feature extractor, image -> features, and facts about it.

It is the first step of every method. The other modules of this package make
backbones.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any, Literal

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.data.resizing import Preprocessing
from protojax.layers.conv import Padding
from protojax.types import ArrayLike, PyTree, UserError
from protojax.weights import reading
from protojax.weights.naming import Layout, Tensors, convert

# How the classifier of pretrained weights reads the last map: by the mean over
# cells and a linear layer, with a LayerNorm between the two, or in another way.
Readout = Literal["mean", "normed mean", "other"]

# Mean and deviation of ImageNet's pixels; most weights were trained with them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# What most classifiers of torchvision are tested with.
TORCHVISION = Preprocessing(256, 224)


@dataclasses.dataclass(frozen=True)
class Layer:
  """One spatial step of a network, for receptive fields.

  Attributes:
    kernel: side of the square kernel.
    stride: step of the kernel, in cells of the map before it.
    padding: "SAME" as TensorFlow pads, "VALID" for none, or the cells (before,
      after) added on each axis.
    upsampled: cells made of each cell on an axis, each from the two that are
      nearest; above 1, the layer does nothing else.
  """

  kernel: int
  stride: int = 1
  padding: Padding = "SAME"
  upsampled: int = 1


@dataclasses.dataclass(frozen=True)
class Level:
  """A feature map inside a network.

  The module sows it into "intermediates" under its name.

  Attributes:
    name: such as "stage_3".
    stride: pixels of the image from one cell to the next.
    channels: of the map.
  """

  name: str
  stride: int
  channels: int


@dataclasses.dataclass(frozen=True)
class Backbone:
  """A feature extractor, and the facts about it that others need.

  Attributes:
    module: Linen module, `module(images [b, H, W, 3], train) -> [b, h, w, d]`,
      for images normalised by `mean` and `std`.
    mean: of red, green and blue, of pixels scaled to 0..1; subtracted.
    std: of the same; divided by.
    stride: pixels of the image from one cell to the next.
    layers: the spatial steps in order, for `receptive_field.chain`, without
      steps that read one cell at a time.
    channels: d.
    levels: maps that methods can take besides the last, in order.
    layouts: the foreign checkpoints that `convert` knows.
    pretrained: gives {"params", "batch_stats"} of NumPy arrays; None without
      pretrained weights.
    tensors: gives the tensors of their checkpoint, with those of the
      classifier; None without pretrained weights.
    readout: how this classifier reads the map.
    preprocessing: how images were resized for published weights, by the end of
      their name on the hub, such as "tv_in1k" of "timm/resnet50.tv_in1k"; '' is
      for files and for the pretrained weights. `mean` and `std` are those of
      all of them.
  """

  module: nn.Module
  mean: tuple[float, float, float]
  std: tuple[float, float, float]
  stride: int
  layers: tuple[Layer, ...]
  channels: int
  levels: tuple[Level, ...] = ()
  layouts: tuple[Layout, ...] = ()
  pretrained: Callable[[], dict[str, Any]] | None = None
  tensors: Callable[[], Tensors] | None = None
  readout: Readout = "other"
  # It changes no program that the backbone is a static argument of.
  preprocessing: Mapping[str, Preprocessing] = dataclasses.field(
    default_factory=dict, compare=False
  )

  def init(
    self, key: jax.Array, image_size: int, blank: bool = False
  ) -> dict[str, PyTree]:
    """New variables: "params" and the statistics.

    Args:
      key: of the randomness.
      image_size: side of an image in pixels.
      blank: gives zeros, for weights that will be loaded: random weights of a
        deep network take half a minute to compile.
    """
    if not blank:
      image = jnp.zeros((1, image_size, image_size, 3))
      return dict(self.module.init(key, image))
    shapes = reading.shapes(self.module, image_size)
    return dict(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))

  def convert(self, tensors: Tensors) -> PyTree:
    """Variables from the tensors of someone else's checkpoint.

    Args:
      tensors: those of this network alone, by their foreign names without the
        prefix of an enclosing model, such as "backbone.".

    Returns:
      {"params", "batch_stats"} of NumPy arrays, in the structure of `init`;
      networks without BatchNorm have no "batch_stats".

    Raises:
      UserError: lists all tensors that are missing, superfluous or misshapen.
    """
    return convert(tensors, reading.shapes(self.module), self.layouts)

  def normalise(self, images: ArrayLike) -> Float[ArrayLike, "b H W 3"]:
    """Pixels 0..255 -> the input of the module."""
    mean, std = (np.array(x, np.float32) for x in (self.mean, self.std))
    x = images.astype("float32") / 255 - mean[None, None, None]
    return x / std[None, None, None]

  def grid(self, image_size: int) -> tuple[int, int]:
    """Rows and columns of the map of a square image of `image_size` pixels."""
    features, _ = reading.traced(self.module, image_size)
    return features.shape[1], features.shape[2]

  def features(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    train: bool = False,
  ) -> tuple[jax.Array, PyTree]:
    """The map of images, and the statistics, which training moves.

    Args:
      params: of the module.
      statistics: of the module; all that `init` gives but "params".
      images: pixels 0..255.
      train: BatchNorm normalises by the batch and moves its running averages.
    """
    apply: Any = self.module.apply
    x = self.normalise(images)
    variables = {"params": params, **statistics}
    if not train:
      return apply(variables, x), statistics
    return apply(variables, x, train=True, mutable=list(statistics))

  def chosen(self, names: Sequence[str]) -> tuple[Level, ...]:
    """The levels of those names, in the order given.

    Raises:
      UserError: there is no such level.
    """
    known = {level.name: level for level in self.levels}
    unknown = [name for name in names if name not in known]
    if unknown:
      raise UserError(
        f"the backbone has no level {', '.join(map(repr, unknown))}; choose"
        " --config.encoder.levels from"
        f" {', '.join(known) or 'those of another backbone'}."
      )
    return tuple(known[name] for name in names)

  def maps(
    self, variables: PyTree, images: ArrayLike, names: Sequence[str]
  ) -> tuple[jax.Array, ...]:
    """Feature maps of levels by name, each b h w d; jit skips later layers.

    Args:
      variables: of the module; statistics are running averages.
      images: pixels 0..255.
      names: of `levels`.
    """
    statistics = {k: v for k, v in variables.items() if k != "params"}
    return self.pyramid(variables["params"], statistics, images, names)[0]

  def pyramid(
    self,
    params: PyTree,
    statistics: PyTree,
    images: ArrayLike,
    names: Sequence[str],
    train: bool = False,
  ) -> tuple[tuple[jax.Array, ...], PyTree]:
    """Maps of levels by name, and the statistics, which training moves.

    Args:
      params: of the module.
      statistics: of the module; all that `init` gives but "params".
      images: pixels 0..255.
      names: of `levels`.
      train: BatchNorm normalises by the batch and moves its running averages.
    """
    apply: Any = self.module.apply
    _, found = apply(
      {"params": params, **statistics},
      self.normalise(images),
      train,
      mutable=["intermediates", *(statistics if train else ())],
    )
    maps = tuple(found["intermediates"][name][0] for name in names)
    return maps, {k: found[k] for k in statistics} if train else statistics


def recomputed(block: type[nn.Module], remat: bool) -> Any:
  """The block `block(x, train)`; with `remat`, it keeps no activations.

  The gradient then computes them again: less memory, a third more time.
  """
  return nn.remat(block, static_argnums=(2,)) if remat else block
