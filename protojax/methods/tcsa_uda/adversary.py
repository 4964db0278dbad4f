"""The adversary: a network that tells the domains by maps of uncertainty.

AdvEnt's (Vu et al., CVPR 2019), as in the authors' code: a PatchGAN sees the
self-information of each pixel's answer. It learns to tell source from target;
the segmentation learns to give the target the maps of a source.
"""

import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from protojax.layers.conv import Conv
from protojax.layers.norm import BatchNorm
from protojax.types import Array, PyTree

SOURCE, TARGET = 0.0, 1.0
_EPSILON = 1e-7
_DEVIATION = 0.02
_SLOPE = 0.2
_PADDING = (1, 1)


class Discriminator(nn.Module):
  """Maps -> a logit for each patch: above 0, it is taken for target.

  Attributes:
    width: channels of the first convolution.
    layers: convolutions with a stride of 2; two without one follow.
  """

  width: int
  layers: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w k"]) -> Float[Array, "b i j"]:
    """Norms are those of the batch."""
    normal = nn.initializers.normal(_DEVIATION)

    def conv(channels: int, stride: int, name: str) -> Conv:
      return Conv(
        channels, 4, stride, _PADDING, bias=True, start=normal, name=name
      )

    x = nn.leaky_relu(conv(self.width, 2, "conv_1")(x), _SLOPE)
    for n in range(1, self.layers + 1):
      width = self.width * min(2**n, 8)
      x = conv(width, 2 if n < self.layers else 1, f"conv_{n + 1}")(x)
      x = nn.leaky_relu(BatchNorm(name=f"norm_{n + 1}")(x, True), _SLOPE)
    return conv(1, 1, "last")(x)[..., 0]


def information(p: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
  """Self-information -p log p of each class, in units of log k.

  0 where a class is certain or excluded; 1/k of each class where all are
  equally likely.
  """
  return -p * jnp.log(p + _EPSILON) / math.log(p.shape[-1])


def seen(
  logits: Float[Array, "b h w k"], entropy: bool, stride: int
) -> Float[Array, "b i j k"]:
  """What the adversary sees of an answer.

  Args:
    logits: of the pixels.
    entropy: the self-information; False: the probabilities themselves.
    stride: pixels on a side that are averaged.
  """
  p = jax.nn.softmax(logits, axis=-1)
  found = information(p) if entropy else p
  if stride == 1:
    return found
  return nn.avg_pool(found, (stride, stride), (stride, stride))


def judged(
  module: Discriminator, params: PyTree, maps: Float[Array, "b h w k"]
) -> Float[Array, "b i j"]:
  """Logits of the patches of maps; norms by the batch, nothing moves."""
  channels = {
    name: {"mean": jnp.zeros_like(x["bias"]), "var": jnp.ones_like(x["bias"])}
    for name, x in params.items()
    if name.startswith("norm")
  }
  apply: Any = module.apply
  found, _ = apply(
    {"params": params, "batch_stats": channels}, maps, mutable=["batch_stats"]
  )
  return found


def cross_entropy(
  logits: Float[Array, "b i j"], domain: float
) -> tuple[Array, int]:
  """Binary cross entropy of patches with a domain: the sum, and the count."""
  each = jax.nn.softplus(logits) - domain * logits
  return jnp.sum(each), each.size
