"""A backbone is traced once for its grid, blank weights and shapes."""

from flax import linen as nn
import jax

from protojax.backbones.backbone import Backbone, Layer
from protojax.weights import reading

TRACES = []


class Counted(nn.Module):
  """A convolution that notes when it is traced."""

  @nn.compact
  def __call__(self, x, train=False):
    TRACES.append(x.shape)
    return nn.Conv(2, (3, 3), strides=2, name="conv")(x)


def test_once_for_each_size():
  zeros, ones = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
  backbone = Backbone(Counted(), zeros, ones, 2, (Layer(3, 2),), channels=2)
  assert backbone.grid(32) == (16, 16)
  begin = jax.jit(lambda key: backbone.init(key, 32, blank=True))
  weights = begin(jax.random.key(0))["params"]["conv"]["kernel"]
  assert weights.shape == (3, 3, 3, 2)
  assert not weights.any()
  found = reading.shapes(Counted(), 32)["params"]["conv"]["bias"]
  assert found.shape == (2,)
  assert TRACES == [(1, 32, 32, 3)]
  assert backbone.grid(48) == (24, 24)
  assert TRACES == [(1, 32, 32, 3), (1, 48, 48, 3)]
