"""A backbone of a few weights, whose cells see their own pixels alone."""

from flax import linen as nn
import jax
import numpy as np

from protojax.backbones.backbone import Backbone, Level

# Name, pixels from cell to cell, channels; two levels are as wide.
LEVELS = (("fine", 2, 3), ("middle", 4, 5), ("coarse", 8, 5), ("last", 8, 4))
SIZE = 32


class Tiles(nn.Module):
  """Convolutions side by side, each cell a tile of its own."""

  @nn.compact
  def __call__(self, images, train=False):
    del train
    before, x = 1, images
    for name, stride, channels in LEVELS:
      side = (stride // before,) * 2
      x = nn.Conv(channels, side, side, "VALID", name=f"to_{name}")(x)
      x = nn.tanh(x)
      self.sow("intermediates", name, x)
      before = stride
    return x


def backbone():
  """The net, without weights to start from."""
  return Backbone(
    module=Tiles(),
    mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.5, 0.2),
    stride=8,
    layers=(),
    channels=4,
    levels=tuple(Level(*level) for level in LEVELS),
  )


def images(count=3, seed=0, size=SIZE):
  """Noise."""
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, size, size, 3), np.uint8)


def large(tree, seed=0):
  """Arrays of those shapes, so large that every one of them matters."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: rng.normal(size=x.shape).astype(np.float32), tree
  )
