"""Tokens of an image, from several levels of a frozen backbone.

Levels of a backbone on one grid of cells -> two groups of tokens, one of the
shallow half of the levels, one of the deep half (INP-Former, 2503.02424,
section 3).
"""

from collections.abc import Sequence
import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float, UInt8
import numpy as np

from protojax.backbones.backbone import Backbone, Level
from protojax.methods.inp_former import intrinsic
from protojax.types import Array, ArrayLike, Batch, State


@dataclasses.dataclass(frozen=True)
class Encoder:
  """Image -> tokens; nothing in it is trained.

  Levels with equally many channels, such as blocks of a transformer, use the
  same channels of a token. Other levels, such as stages of a convolutional
  network, have their own channels and are zero in the others. Cosines within a
  level do not depend on this.

  Attributes:
    backbone: has the levels.
    names: of the levels, from shallow to deep; their number times that of
      `scales` is even.
    grid: cells on a side; every level is resized to it by linear interpolation.
    scales: sides of the resized images that levels are read from, as shares of
      the side of the image. All levels at the first scale come before those at
      the second, so that fine is before coarse as shallow is before deep.
  """

  backbone: Backbone
  names: tuple[str, ...]
  grid: int
  scales: tuple[float, ...] = (1.0,)

  @functools.cached_property
  def levels(self) -> tuple[Level, ...]:
    """The levels at each scale; UserError for an unknown one."""
    return self.backbone.chosen(self.names) * len(self.scales)

  @property
  def widths(self) -> tuple[int, ...]:
    """Channels of every level."""
    return tuple(level.channels for level in self.levels)

  @property
  def channels(self) -> int:
    """d, the channels of a token."""
    return sum(dict.fromkeys(self.widths))

  def side_by_side(self, state: State, batch: Batch) -> Float[Array, "b h w c"]:
    """Raw levels on the grid, concatenated along the channels."""
    variables = state.assets["backbone"]
    images = jnp.asarray(batch["image"], jnp.float32)
    b, height, width, _ = images.shape
    maps = []
    for scale in self.scales:
      shape = b, round(scale * height), round(scale * width), 3
      scaled = jax.image.resize(images, shape, "linear")
      maps += self.backbone.maps(variables, scaled, self.names)
    resized = [
      jax.image.resize(x, (b, self.grid, self.grid, x.shape[-1]), "linear")
      for x in maps
    ]
    return jax.lax.stop_gradient(jnp.concatenate(resized, axis=-1))

  def by_level(self, scale: Float[ArrayLike, " c"]) -> Float[np.ndarray, " c"]:
    """One scale for all channels of a level, from a scale for each channel.

    It brings the level's vectors to a mean square of one. With a scale for each
    channel, channels that hardly vary would count as much as the others.
    Without any scale the level with the largest numbers would dominate.
    """
    levels = np.split(np.asarray(scale), np.cumsum(self.widths)[:-1])
    return np.concatenate(
      [np.full_like(level, np.sum(level**-2.0) ** -0.5) for level in levels]
    )

  def groups(
    self, state: State, images: UInt8[ArrayLike, "b H W 3"]
  ) -> Float[Array, "2 b n d"]:
    """Tokens of the shallow and of the deep half: means over their levels.

    Statistics "shift" and "scale" are applied to the channels first.
    """
    x = self.side_by_side(state, {"image": images})
    shift, scale = (state.statistics[name] for name in ("shift", "scale"))
    x = (x - shift[None, None, None]) * scale[None, None, None]
    x = x.reshape(len(images), -1, x.shape[-1])
    return intrinsic.group_encoded(_in_own_channels(x, self.widths))


def _in_own_channels(
  x: Float[Array, "b n c"], widths: Sequence[int]
) -> Float[Array, "l b n d"]:
  starts, total = {}, 0
  for width in widths:
    if width not in starts:
      starts[width], total = total, total + width
  levels, read = [], 0
  for width in widths:
    level = x[:, :, read : read + width]
    before = starts[width]
    after = total - before - width
    levels.append(jnp.pad(level, ((0, 0), (0, 0), (before, after))))
    read += width
  return jnp.stack(levels)
