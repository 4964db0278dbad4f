"""The teacher: a small CNN from a measurement to its pair of numbers.

Its next-to-last features become the bank. The paper does not describe it; four
convolutions (32-64-128-128, stride 2, GroupNorm, GELU), a mean over the map,
and two linear layers are ours (section 3).
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax.data.source import Subset, subset
from protojax.data.splits import draw
from protojax.datasets.measurements import Measurements
from protojax.layers.conv import Conv
from protojax.methods.neurogaze_distill.grid import Grid
from protojax.types import Array, ArrayLike, PyTree, UserError

LOSSES = ("mse", "ccc")
# Channels that GroupNorm normalises together.
_GROUP = 8
# Shares of the subjects: to train on, to stop by, to build the bank from.
_SHARES = (0.6, 0.2, 0.2)


class TeacherNet(nn.Module):
  """Measurement -> features, and its pair of numbers in [-1, 1].

  Attributes:
    widths: channels of the convolutions.
    channels: of the features, Dt.
  """

  widths: tuple[int, ...]
  channels: int

  @nn.compact
  def __call__(
    self, values: Float[Array, "b H W c"]
  ) -> tuple[Float[Array, "b d"], Float[Array, "b 2"]]:
    """Features are linear: behind a ReLU they would be nearly parallel."""
    x = values.astype(jnp.float32)
    for i, width in enumerate(self.widths, start=1):
      x = Conv(width, 3, 2, name=f"conv_{i}")(x)
      groups = max(width // _GROUP, 1)
      x = nn.gelu(nn.GroupNorm(num_groups=groups, name=f"norm_{i}")(x))
    features = nn.Dense(self.channels, name="features")(jnp.mean(x, (1, 2)))
    return features, jnp.tanh(nn.Dense(2, name="pair")(features))


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The network, and the grid that its numbers lie on.

  Attributes:
    net: the module.
    size: side of a measurement.
    inputs: its channels.
    grid: gives the range of the numbers.
  """

  net: TeacherNet
  size: int
  inputs: int
  grid: Grid

  def init(self, key: Array) -> PyTree:
    """Random parameters."""
    values = jnp.zeros((1, self.size, self.size, self.inputs))
    return self.net.init(key, values)["params"]

  def __call__(
    self, params: PyTree, values: ArrayLike
  ) -> tuple[Float[Array, "b d"], Float[Array, "b 2"]]:
    """Features and the pair, in [-1, 1]."""
    apply: Any = self.net.apply
    return apply({"params": params}, jnp.asarray(values))

  def scaled(self, targets: ArrayLike) -> Float[Array, "b 2"]:
    """Targets on the grid's range -> [-1, 1]."""
    low, high = (
      jnp.asarray(x, jnp.float32)[None] for x in (self.grid.low, self.grid.high)
    )
    return 2 * (jnp.asarray(targets) - low) / (high - low) - 1


def squared_error(
  found: Float[ArrayLike, "b 2"], wanted: Float[ArrayLike, "b 2"]
) -> Float[jax.Array, " b"]:
  """Mean over the two numbers."""
  return jnp.mean((jnp.asarray(found) - jnp.asarray(wanted)) ** 2, axis=1)


def concordance(
  found: Float[ArrayLike, "b 2"],
  wanted: Float[ArrayLike, "b 2"],
  valid: ArrayLike | None = None,
) -> Float[jax.Array, ""]:
  """The concordance correlation coefficient, mean over the two numbers.

  2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2) (Lin, 1989): 1 for equal numbers.

  Args:
    found, wanted: of a whole batch.
    valid: False for rows that are left out; None: all count.
  """
  x, y = jnp.asarray(found), jnp.asarray(wanted)
  rows = jnp.ones(len(x)) if valid is None else jnp.asarray(valid, jnp.float32)
  share = (rows / jnp.maximum(jnp.sum(rows), 1))[:, None]
  mean_x, mean_y = jnp.sum(share * x, 0), jnp.sum(share * y, 0)
  x, y = x - mean_x[None], y - mean_y[None]
  both = jnp.sum(share * x * y, 0)
  alone = jnp.sum(share * (x**2 + y**2), 0)
  # The addition keeps a constant pair of numbers from dividing by 0.
  return jnp.mean(2 * both / (alone + (mean_x - mean_y) ** 2 + 1e-8))


def three_ways(source: Measurements, seed: int) -> tuple[Subset, ...]:
  """Measurements of some subjects to train on, to stop by, for the bank.

  No subject is in two of them: with the set that stops the teacher the bank
  would be built from features that were chosen by it (section 8, point 5).

  Raises:
    UserError: there are fewer than three subjects.
  """
  groups = np.unique(source.groups)
  if len(groups) < len(_SHARES):
    raise UserError(
      f"{source.title} has measurements of {len(groups)} subjects; at least"
      f" {len(_SHARES)} are needed, to train the teacher, to stop it, and to"
      " build the bank"
    )
  ranked = sorted(groups.tolist(), key=lambda g: draw(seed, str(g)))
  counts = _counts(len(groups))
  ends = np.cumsum(counts)
  return tuple(
    _of_groups(source, ranked[end - count : end])
    for count, end in zip(counts, ends.tolist(), strict=True)
  )


def _counts(groups: int) -> tuple[int, ...]:
  held = [max(1, round(share * groups)) for share in _SHARES[1:]]
  return groups - sum(held), *held


def _of_groups(source: Measurements, groups: Sequence[int]) -> Subset:
  return subset(source, np.flatnonzero(np.isin(source.groups, groups)))
