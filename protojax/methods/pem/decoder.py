"""PEM's transformer decoder: memory and features of masks -> masks, classes.

Learned queries read one level of the memory after another, each only inside of
the mask that it gave last. After every layer, and before the first, each gives
a mask and a class.
"""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
from flax import struct
import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.layers.conv import Conv
from protojax.layers.norm import layer_norm
from protojax.methods.pem import attention, selection
from protojax.types import Array

_TEMPERATURE = 1e4
_EPSILON = 1e-6


@struct.dataclass
class Predictions:
  """The answers of the queries; jit drops what is ignored.

  Fields are typed as Any for transformations.

  Attributes:
    logits: of the classes and, last, of no object, [p b q k+1]; a prediction p
      for the first queries and for each layer.
    masks: logits, [p b q h w].
    read: what each layer's queries have read, a `selection.Read` each.
  """

  logits: Any
  masks: Any
  read: Any


def places(
  height: int, width: int, channels: int
) -> Float[np.ndarray, "h w c"]:
  """Sines and cosines of a cell's row (first half) and column.

  Rows and columns count from 1 and are scaled to 2 pi at the last one, as in
  DETR's code.

  Args:
    height, width: of the map.
    channels: must divide by 4.
  """
  half = channels // 2
  powers = _TEMPERATURE ** (2 * (np.arange(half) // 2) / half)

  def along(count: int) -> np.ndarray:
    at = np.arange(1, count + 1) / (count + _EPSILON) * 2 * np.pi
    angles = at[:, None] / powers
    waves = np.stack([np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])], axis=2)
    return waves.reshape(count, half)

  y = np.repeat(along(height)[:, None], width, axis=1)
  x = np.repeat(along(width)[None], height, axis=0)
  return np.concatenate([y, x], axis=-1).astype(np.float32)


class MaskHead(nn.Module):
  """The query's class, and the vector whose products with features are a mask.

  Attributes:
    classes: k, without "no object".
    mask_channels: of the vector.
  """

  classes: int
  mask_channels: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "b q c"]
  ) -> tuple[Float[Array, "b q k"], Float[Array, "b q m"]]:
    """Logits of the classes, and the vector."""
    x = layer_norm(x, "norm", 1e-5)
    logits = attention.linear(self.classes + 1, "classes")(x)
    channels = x.shape[-1]
    for number in range(2):
      x = nn.relu(attention.linear(channels, f"mask_{number}")(x))
    return logits, attention.linear(self.mask_channels, "mask_2")(x)


class Decoder(nn.Module):
  """The queries and their layers.

  Attributes:
    classes: k.
    queries: q.
    channels: c of a query.
    heads: of cross-attention and self-attention.
    layers: number of them; layer i reads level i modulo their number.
    width: of the feed-forward layers within.
    kind: how queries read the memory, one of `attention.KINDS`.
    across: see `attention.Picking`.
    parity: see `selection.barred`.
    chunk: tokens that are compared at a time.
  """

  classes: int
  queries: int
  channels: int
  heads: int
  layers: int
  width: int
  kind: str = "pem"
  across: int = 1
  parity: bool = False
  chunk: int = selection.CHUNK

  @nn.compact
  def __call__(
    self,
    features: Float[Array, "b h w m"],
    memory: Sequence[Float[Array, "b _ _ _"]],
    train: bool,
    key: Array,
  ) -> Predictions:
    """Masks and classes after every layer.

    Args:
      features: of the masks.
      memory: the levels that are read, in their order.
      train: BatchNorm normalises by the batch, and moves.
      key: of random tokens.
    """
    normal = nn.initializers.normal(1.0)
    shape = self.queries, self.channels
    first = self.param("queries", normal, shape)
    own = jnp.asarray(self.param("places", normal, shape))
    of_level = self.param("levels", normal, (len(memory), self.channels))
    levels = [
      Conv(
        self.channels, bias=True, start=attention.XAVIER, name=f"level_{number}"
      )(level)
      + jnp.asarray(of_level)[number][None, None, None]
      for number, level in enumerate(memory)
    ]
    wheres = [
      jnp.asarray(places(level.shape[1], level.shape[2], self.channels))
      for level in levels
    ]
    head = MaskHead(self.classes, features.shape[-1], name="head")
    x = jnp.broadcast_to(jnp.asarray(first)[None], (len(features), *shape))
    logits, masks, found = [], [], []
    for number in range(self.layers + 1):
      of_class, vectors = head(x)
      mask = jnp.einsum("bqm,bhwm->bqhw", vectors, features)
      logits.append(of_class)
      masks.append(mask)
      if number == self.layers:
        break
      level = number % len(levels)
      barred = selection.barred(
        resized(mask, *levels[level].shape[1:3]).reshape(*x.shape[:2], -1),
        self.parity,
      )
      x, read = self._cross(number)(
        x,
        own,
        levels[level],
        wheres[level],
        barred,
        train,
        jax.random.fold_in(key, number),
      )
      found.append(read)
      x = attention.Among(self.heads, name=f"among_{number}")(x, own)
      x = attention.FeedForward(self.width, name=f"forward_{number}")(x)
    return Predictions(jnp.stack(logits), jnp.stack(masks), tuple(found))

  def _cross(self, number: int) -> nn.Module:
    name = f"cross_{number}"
    if self.kind == "masked":
      return attention.Masked(self.heads, name=name)
    return attention.Picking(
      self.heads, self.across, self.kind == "random", self.chunk, name=name
    )


def resized(
  masks: Float[Array, "b q h w"], rows: int, columns: int
) -> Float[Array, "b q rows columns"]:
  """Bilinear, edges on edges, without smoothing, as PyTorch does."""
  if masks.shape[2:] == (rows, columns):
    return masks
  shape = *masks.shape[:2], rows, columns
  return jax.image.resize(masks, shape, "linear", antialias=False)
