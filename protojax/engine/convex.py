"""Solves for the last layer: weights at the minimum of a convex loss.

With fixed scores cross entropy and L1 term are convex in the head's weights
(ProtoPNet, section 2.2, stage 3). The minimum is found by gradient steps with
momentum (FISTA; Beck and Teboulle, 2009). Their length follows the curvature,
and the momentum restarts where it leads uphill (O'Donoghue and Candès, 2015).
Devices sum over the images in float32; the host computes the steps in float64,
since the last ones are too small for float32.
"""

from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float
import numpy as np

from protojax import parallel
from protojax.data.stream import Stream
from protojax.engine.cached import Rows, with_rows
from protojax.types import Array, Batch, PyTree, UserError

# (params, buffers, batch) -> the loss of each example, convex in the params.
Loss = Callable[[PyTree, PyTree, Batch], Array]
Vector = Float[np.ndarray, " n"]

# Rows of up to _STAY bytes for each device stay there; more are sent at every
# step, in batches of _SENT bytes.
_STAY, _SENT = 2 << 30, 1 << 28
# Rounding error of a loss in float32, as a share of it. Smaller differences of
# two losses mean nothing.
_ROUNDING = 2e-6


@dataclasses.dataclass(frozen=True)
class Penalty:
  """The penalty: the sum of l1 |w| + ridge / 2 (w - centre)² over weights w.

  Cross entropy alone has no minimum if the classes can be separated. All but
  `ridge` are trees like the parameters.

  Attributes:
    entries: number of weights that a parameter stands for; with 0 it does not
      change.
    l1: factor of |w|.
    centre: the weights at which the ridge is 0.
    ridge: factor of the squares.
  """

  entries: PyTree
  l1: PyTree
  centre: PyTree
  ridge: float


class Solution(NamedTuple):
  """The result of the search.

  Attributes:
    params: float32 NumPy arrays.
    loss: the mean loss with its penalty.
    iterations: number of steps.
    residual: the largest component of the proximal gradient, that of a step of
      length one, as a share of its value at the start; 0 at the minimum.
  """

  params: PyTree
  loss: float
  iterations: int
  residual: float


def batches(rows: Rows, data: Stream) -> list[Batch]:
  """Batches of rows over the devices, where they stay if they are few.

  Args:
    rows: of every example, in the order of the source.
    data: the stream of these examples.
  """
  size = sum(x.nbytes for x in rows.values()) // len(data)
  stay = size * len(data) <= _STAY * parallel.device_count()
  count = len(data) if stay else min(len(data), max(1, _SENT // size))
  data = dataclasses.replace(data, batch_size=parallel.whole_batch(count))
  laid_out = parallel.placed if stay else parallel.shard
  return [
    laid_out(with_rows(batch, rows))
    for batch in data.batches(read_images=False)
  ]


def solve(
  loss: Loss,
  params: PyTree,
  buffers: PyTree,
  data: Sequence[Batch],
  penalty: Penalty,
  steps: int,
  tolerance: float,
) -> Solution:
  """The parameters with the smallest mean loss plus penalty.

  The search starts at the penalty's centre, so that its result and its length
  depend on the loss alone.

  Args:
    loss: hashable; equal ones share a compiled program.
    params: a tree of arrays; those without entries do not change.
    buffers: for the loss.
    data: from `batches`.
    penalty: makes the minimum unique.
    steps: most steps.
    tolerance: the residual that ends the search.

  Raises:
    UserError: the loss is nan at the start.
  """
  trees = params, penalty.entries, penalty.l1, penalty.centre
  fixed, entries, l1, centre = (_flat(tree) for tree in trees)
  free = entries > 0
  # A parameter that stands for many weights has the slope of all of them. In
  # these units all parameters are equally steep.
  unit = np.sqrt(entries[free])
  l1, centre = l1[free] / unit, centre[free] * unit
  mean = _Mean(loss, parallel.replicate(buffers), data)

  def tree(point: Vector) -> PyTree:
    weights = fixed.copy()
    weights[free] = point / unit
    return _like(params, weights)

  def value(point: Vector) -> float:
    away = point - centre
    return mean.value(tree(point)) + penalty.ridge / 2 * float(away @ away)

  def gradient(point: Vector) -> tuple[float, Vector]:
    away = point - centre
    found, slope = mean.gradient(tree(point))
    slope = _flat(slope)[free] / unit + penalty.ridge * away
    return found + penalty.ridge / 2 * float(away @ away), slope

  point, iterations, residual = minimise(
    value, gradient, centre, l1, steps, tolerance
  )
  loss_there = value(point) + float(np.abs(point) @ l1)
  return Solution(tree(point), loss_there, iterations, residual)


def minimise(
  value: Callable[[Vector], float],
  gradient: Callable[[Vector], tuple[float, Vector]],
  start: Vector,
  l1: Vector,
  steps: int,
  tolerance: float,
) -> tuple[Vector, int, float]:
  """The minimum of a smooth convex function plus the sum of l1 |x|.

  Args:
    value: of the smooth function.
    gradient: its value and gradient.
    start: where the search starts.
    l1: not negative.
    steps: most steps.
    tolerance: the residual that ends the search; see `Solution`.

  Returns:
    The point, the number of steps, and the residual there.

  Raises:
    UserError: the value at the start is nan.
  """
  here, ahead, momentum, rate = start, start, 1.0, 1.0
  first = left = number = 0
  for number in range(steps + 1):
    before, slope = gradient(ahead)
    if not np.isfinite(before):
      raise UserError(
        "the last layer cannot be solved: its loss is not a number. A score"
        " of a training image is nan or far too large."
      )
    left = np.max(np.abs(ahead - _shrunk(ahead - slope, l1)), initial=0.0)
    first = first or left
    enough = left <= tolerance * first
    if number == steps or (enough and ahead is here):
      break
    found, rate = _step(value, before, slope, ahead, rate, l1)
    # The search ends after a step, where L1 has set weights to 0, not after the
    # momentum.
    if enough or (found - ahead) @ (found - here) < 0:
      here, ahead, momentum = found, found, 1.0
    else:
      grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
      ahead = found + (momentum - 1) / grown * (found - here)
      here, momentum = found, grown
  return here, number, float(left / first) if first else 0.0


def _step(
  value: Callable[[Vector], float],
  before: float,
  slope: Vector,
  point: Vector,
  rate: float,
  l1: Vector,
) -> tuple[Vector, float]:
  """The point after a step that is not too long, and the rate to try next."""
  noise = _ROUNDING * abs(before)
  while True:
    found = _shrunk(point - rate * slope, rate * l1)
    step = found - point
    bound = float(step @ step) / (2 * rate)
    # The parabola of this rate must lie above the function.
    if value(found) - before - float(slope @ step) <= bound + noise:
      # A larger rate is tried only while losses can show that it is too large.
      return found, rate * 1.1 if bound > noise else rate
    rate /= 2


class _Mean:
  """The mean of a loss over batches that lie on the devices."""

  def __init__(self, loss: Loss, buffers: PyTree, data: Sequence[Batch]):
    self._value, self._gradient = (
      parallel.pmap_once(
        functools.partial(step, loss), in_axes=(None, None, 0), out_axes=None
      )
      for step in (_value, _value_and_gradient)
    )
    self._buffers, self._data = buffers, data

  def value(self, params: PyTree) -> float:
    """The mean loss at these parameters."""
    return float(self._over(self._value, params))

  def gradient(self, params: PyTree) -> tuple[float, PyTree]:
    """The mean loss at these parameters, and its gradient."""
    value, slope = self._over(self._gradient, params)
    return float(value), slope

  def _over(self, function: Callable[..., PyTree], params: PyTree) -> PyTree:
    found = [function(params, self._buffers, batch) for batch in self._data]
    sums, count = jax.tree.map(
      lambda *x: np.sum(x, axis=0, dtype=np.float64), *parallel.to_host(found)
    )
    return jax.tree.map(lambda x: x / count, sums)


def _value(loss: Loss, params: PyTree, buffers: PyTree, batch: Batch) -> PyTree:
  """Sum of the loss over a batch of all devices, and the number of examples."""
  total = _total(params, loss, buffers, batch)
  return parallel.psum((total, jnp.sum(batch["valid"])))


def _value_and_gradient(
  loss: Loss, params: PyTree, buffers: PyTree, batch: Batch
) -> PyTree:
  """(Sum, its gradient) and the number of examples, over all devices."""
  sums = jax.value_and_grad(_total)(params, loss, buffers, batch)
  return parallel.psum((sums, jnp.sum(batch["valid"])))


def _total(
  params: PyTree, loss: Loss, buffers: PyTree, batch: Batch
) -> jax.Array:
  return jnp.sum(jnp.where(batch["valid"], loss(params, buffers, batch), 0.0))


def _shrunk(point: Vector, by: Vector) -> Vector:
  """Moved towards 0, but not past it: the proximal step of an L1 term."""
  return np.sign(point) * np.maximum(np.abs(point) - by, 0.0)


def _flat(tree: PyTree) -> Vector:
  leaves = jax.tree.leaves(tree)
  return np.concatenate([np.ravel(x).astype(np.float64) for x in leaves])


def _like(tree: PyTree, flat: Vector) -> PyTree:
  """The vector as a tree of float32 arrays with the shapes of `tree`."""
  leaves, structure = jax.tree.flatten(tree)
  ends = np.cumsum([np.size(x) for x in leaves])[:-1]
  arrays = [
    x.reshape(np.shape(leaf)).astype(np.float32)
    for x, leaf in zip(np.split(flat, ends), leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, arrays)
