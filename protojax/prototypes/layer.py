"""The Linen modules between the backbone and the scores.

`AddOn` brings a backbone's features to the prototypes' channels and range.
`PrototypeLayer` holds the prototypes and finds the nearest patch of each.
"""

from typing import Any, Protocol, runtime_checkable

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.prototypes import pooling
from protojax.prototypes.similarity import Similarity
from protojax.types import ArrayLike, UserError

KINDS = ("regular", "bottleneck", "single")
_ACTIVATIONS = {
  "sigmoid": nn.sigmoid,
  "tanh": nn.tanh,
  "relu": nn.relu,
  "none": lambda x: x,
}


class AddOn(nn.Module):
  """1x1 convolutions from C to D channels (ProtoPNet, section 2.1).

  "regular": C -> D, hidden activation, D -> D, final activation. "bottleneck":
  pairs of layers that halve the channels until D is reached, the hidden
  activation after each but the last. "single": C -> D, final activation. A 1x1
  convolution is a Dense on the channel axis.

  Attributes:
    channels: D, the prototypes' channels.
    kind: "regular", "bottleneck" or "single".
    final: "sigmoid" (features in (0, 1), the paper's), "tanh", "relu" or
      "none".
    hidden: the same choice; "relu" in the paper.
  """

  channels: int
  kind: str = "regular"
  final: str = "sigmoid"
  hidden: str = "relu"

  @nn.compact
  def __call__(
    self,
    features: Float[ArrayLike, "b h w c"],
    shift: Float[ArrayLike, " c"] | None = None,
    scale: Float[ArrayLike, " c"] | None = None,
  ) -> Float[jax.Array, "b h w d"]:
    """Float32 features, from `(features - shift) * scale` if they are given.

    Shift and scale are measured, not learned. Without them features of a
    pretrained backbone, far from unit variance, saturate the final sigmoid.
    """
    final = _choose(_ACTIVATIONS, self.final, "final activation")
    hidden = _choose(_ACTIVATIONS, self.hidden, "hidden activation")
    x = jnp.asarray(features, jnp.float32)
    if shift is not None:
      x = x - shift[None, None, None]
    if scale is not None:
      x = x * scale[None, None, None]
    widths = self.widths(x.shape[-1])
    for width in widths[:-1]:
      x = hidden(_pointwise(width)(x))
    return final(_pointwise(widths[-1])(x))

  def widths(self, channels: int) -> list[int]:
    """Output channels of every layer, in order, for so many input channels."""
    _choose(dict.fromkeys(KINDS), self.kind, "add-on")
    if self.kind == "regular":
      return [self.channels, self.channels]
    if self.kind == "single":
      return [self.channels]
    widths = []
    while channels > self.channels or not widths:
      widths += [max(self.channels, channels // 2)] * 2
      channels //= 2
    return widths


@runtime_checkable
class Layer(Protocol):
  """A Linen module that holds p prototypes; see `PrototypeLayer`.

  Attributes:
    count: p.
    channels: d, as many as the features have.
    height: cells a prototype spans.
    width: cells a prototype spans.
    similarity: the metric.
  """

  count: int
  channels: int
  height: int
  width: int
  similarity: Similarity

  def init(self, *arguments: Any) -> Any:
    """Variables, from a key and features."""
    ...

  def apply(self, *arguments: Any) -> Any:
    """`pooling.Nearest` of every prototype, from variables and features."""
    ...

  def clone(self, **changes: Any) -> Any:
    """The same layer with other attributes."""
    ...


class PrototypeLayer(nn.Module):
  """The prototypes; finds the nearest patch of each.

  Its one parameter, "prototypes" [p h1 w1 d], starts uniform in (0, 1), the
  range of features behind a sigmoid.

  Attributes:
    count: p, the number of prototypes.
    channels: d, as many as the features have.
    similarity: the metric.
    height: h1, cells a prototype spans.
    width: w1, cells a prototype spans.
    kernel: how the nearest patch is found, one of `pooling.KERNELS`.
  """

  count: int
  channels: int
  similarity: Similarity
  height: int = 1
  width: int = 1
  kernel: str = "xla"

  @nn.compact
  def __call__(self, features: Float[ArrayLike, "b h w d"]) -> pooling.Nearest:
    """Smallest distance and its cell: `pooling.nearest`."""
    prototypes = self.param(
      "prototypes",
      nn.initializers.uniform(1.0),
      (self.count, self.height, self.width, self.channels),
    )
    _choose(dict.fromkeys(pooling.KERNELS), self.kernel, "kernel")
    return pooling.nearest(
      features, prototypes, self.similarity, kernel=self.kernel
    )


def _pointwise(channels: int) -> nn.Dense:
  # Kaiming normal by fan out, for ReLU: the paper's code.
  init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  return nn.Dense(channels, kernel_init=init)


def _choose(known, name, what):
  if name not in known:
    raise UserError(
      f"{what} {name!r} is not known; choose one of {', '.join(known)}."
    )
  return known[name]
