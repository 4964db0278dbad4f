"""A backbone of one layer, with weights and a classifier of its own."""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from protojax.backbones.backbone import Backbone, Layer
from protojax.data.resizing import Preprocessing

NAMES = ("tiny",)
SIDE, CHANNELS, CLASSES = 16, 6, 3


class Tiny(nn.Module):
  """Squares of 4 x 4 pixels, a linear layer and a ReLU."""

  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, images, train=False):
    del train
    b, h, w, c = images.shape
    x = images.reshape(b, h // 4, 4, w // 4, 4, c).swapaxes(2, 3)
    x = x.reshape(b, h // 4, w // 4, 16 * c)
    kernel = self.param("kernel", nn.initializers.zeros, (48, CHANNELS))
    return nn.relu(jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST))


def variables():
  """Fixed weights."""
  rng = np.random.default_rng(0)
  kernel = np.float32(rng.normal(size=(48, CHANNELS)) / 4)
  return {"params": {"kernel": kernel}}


def tensors():
  """Of the classifier."""
  rng = np.random.default_rng(1)
  return {
    "fc.weight": np.float32(rng.normal(size=(CLASSES, CHANNELS))),
    "fc.bias": np.float32(rng.normal(size=CLASSES)),
  }


def load(name):
  """The backbone."""
  del name
  return Backbone(
    module=Tiny(),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    stride=4,
    layers=(Layer(4, 4, "VALID"),),
    channels=CHANNELS,
    pretrained=variables,
    tensors=tensors,
    readout="mean",
    preprocessing={"": Preprocessing(SIDE, SIDE)},
  )
