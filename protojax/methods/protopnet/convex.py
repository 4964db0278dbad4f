"""The last layer, solved: the head's weights where a convex loss is smallest.

Scores that stay as they are make cross entropy, and the L1 term, convex in the
weights (ProtoPNet, section 2.2, stage 3). They are found by steps along the
gradient with momentum (FISTA; Beck and Teboulle, 2009), whose length follows
the curvature and whose momentum starts anew where it leads uphill (O'Donoghue
and Candès, 2015). Sums over images are made on the devices, in float32; steps
on the host, in float64, since the last ones are shorter than float32 tells.
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

# Bytes of rows for each device that stay there; more are sent at every step,
# in batches of so many.
_STAY, _SENT = 2 << 30, 1 << 28
# Share of a loss that rounding in float32 may be: below it a comparison of two
# losses tells nothing.
_ROUNDING = 2e-6


@dataclasses.dataclass(frozen=True)
class Penalty:
  """What the mean loss is added to: off |w| + ridge / 2 (w - centre)², summed.

  Cross entropy alone has no minimum where the classes can be told apart. All
  but `ridge` are trees like the parameters.

  Attributes:
    entries: of how many entries a parameter is the weight; one of none stays.
    l1: what |w| is multiplied by.
    centre: where the ridge draws to.
    ridge: of each entry.
  """

  entries: PyTree
  l1: PyTree
  centre: PyTree
  ridge: float


class Solution(NamedTuple):
  """Where the search ended.

  Attributes:
    params: float32 NumPy arrays.
    loss: the mean loss with its penalty.
    iterations: steps that were made.
    residual: how far an unhindered step of length one would lead (the largest
      component of the proximal gradient), as a share of what it was at the
      start; 0 at the minimum.
  """

  params: PyTree
  loss: float
  iterations: int
  residual: float


def batches(rows: Rows, data: Stream) -> list[Batch]:
  """Rows of all examples over the devices, where they stay if they are few.

  Args:
    rows: of every example, in the order of the source.
    data: whose labels they have.
  """
  size = sum(x.nbytes for x in rows.values()) // len(data)
  stay = size * len(data) <= _STAY * parallel.device_count()
  count = len(data) if stay else min(len(data), max(1, _SENT // size))
  whole = dataclasses.replace(data, batch_size=parallel.whole_batch(count))
  laid_out = parallel.placed if stay else parallel.shard
  return [
    laid_out(with_rows(batch, rows))
    for batch in whole.batches(read_images=False)
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
  """Parameters that make the mean loss and its penalty smallest.

  The search starts at the penalty's centre, so that what it finds, and when it
  has found it, depends on the loss alone.

  Args:
    loss: always the same object, since it is compiled once.
    params: a tree of arrays; those without entries stay as they are.
    buffers: what else the loss reads.
    data: from `batches`.
    penalty: makes the minimum one.
    steps: at most.
    tolerance: the residual that is small enough.

  Raises:
    UserError: the loss is not a number at the start.
  """
  trees = params, penalty.entries, penalty.l1, penalty.centre
  fixed, entries, l1, centre = (_flat(tree) for tree in trees)
  free = entries > 0
  # A parameter of many entries is as steep as all of them: in these units all
  # are alike.
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
    steps: at most.
    tolerance: the residual that is small enough; see `Solution`.

  Returns:
    The point, the steps made, and the residual there.

  Raises:
    UserError: the value at the start is not a number.
  """
  here, ahead, momentum, rate = start, start, 1.0, 1.0
  first = left = number = 0
  for number in range(steps + 1):
    before, slope = gradient(ahead)
    if not np.isfinite(before):
      raise UserError(
        "the last layer cannot be solved: its loss is not a number. A score"
        " of a training image is not, or far too large."
      )
    left = np.max(np.abs(ahead - _shrunk(ahead - slope, l1)), initial=0.0)
    first = first or left
    enough = left <= tolerance * first
    if number == steps or (enough and ahead is here):
      break
    found, rate = _step(value, before, slope, ahead, rate, l1)
    # Where momentum leads no weight need be 0: the search ends at a step's end.
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
  """A step that is not too long, and the rate to try the next one at."""
  noise = _ROUNDING * abs(before)
  while True:
    found = _shrunk(point - rate * slope, rate * l1)
    step = found - point
    bound = float(step @ step) / (2 * rate)
    # The parabola of this rate has to lie above the function.
    if value(found) - before - float(slope @ step) <= bound + noise:
      # Longer ones are tried only while losses can tell that they are too long.
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
    """At these parameters."""
    return float(self._over(self._value, params))

  def gradient(self, params: PyTree) -> tuple[float, PyTree]:
    """Value and gradient."""
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
  """Nearer to 0, but not past it: the proximal step of an L1 term."""
  return np.sign(point) * np.maximum(np.abs(point) - by, 0.0)


def _flat(tree: PyTree) -> Vector:
  leaves = jax.tree.leaves(tree)
  return np.concatenate([np.ravel(x).astype(np.float64) for x in leaves])


def _like(tree: PyTree, flat: Vector) -> PyTree:
  """The vector as a tree of float32 arrays of these shapes."""
  leaves, structure = jax.tree.flatten(tree)
  ends = np.cumsum([np.size(x) for x in leaves])[:-1]
  parts = [
    part.reshape(np.shape(leaf)).astype(np.float32)
    for part, leaf in zip(np.split(flat, ends), leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, parts)
