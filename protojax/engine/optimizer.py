"""Optimisers by group of parameters, as the papers' tables give them."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from protojax import parallel
from protojax.types import PyTree, UserError

Rate = float | optax.Schedule


def adam(rate: Rate, weight_decay: float = 0.0) -> optax.GradientTransformation:
  """Adam with L2 regularisation, as PyTorch's `Adam(weight_decay=...)`.

  The decay is added to the gradient before the moments see it (this is not
  AdamW), biases included, as in ProtoPNet's code.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay)
    if weight_decay
    else optax.identity(),
    optax.scale_by_adam(),
    optax.scale_by_learning_rate(rate),
  )


class StableAdamWState(NamedTuple):
  """The state of `stable_adamw`.

  Attributes:
    count: updates done, int32.
    mean: running mean of the gradient, m.
    square: running mean of its square, v.
    largest: the largest v so far of each element; () without AMSGrad.
  """

  # Any: tree transformations store shapes and markers here.
  count: Any
  mean: Any
  square: Any
  largest: Any


def stable_adamw(
  rate: Rate,
  weight_decay: float = 1e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-10,
  amsgrad: bool = True,
  clip_threshold: float = 1.0,
  stacked: bool = False,
) -> optax.GradientTransformation:
  """AdamW with smaller steps where the gradient is large for its moments.

  StableAdamW (Wortsman et al., 2304.13013) as in INP-Former's code. Under
  AMSGrad v is the largest one so far. For each tensor

    u   = sqrt(v) / sqrt(1 - b2**t) + eps
    rho = max(1, RMS(g / u) / clip_threshold)
    p  <- p (1 - rate weight_decay) - rate / (1 - b1**t) / rho m / u

  Unlike in Optax, the largest v is chosen before its bias is corrected.

  Args:
    rate: the learning rate, or a schedule of it.
    weight_decay: decoupled from the gradient, multiplied by the rate.
    b1: decay of the mean.
    b2: decay of the mean square.
    eps: keeps u above zero.
    amsgrad: divide by the largest v so far.
    clip_threshold: RMS above which the step shrinks.
    stacked: every array is a stack of tensors along its first axis (the blocks
      of a scanned module); each of them has its own RMS.
  """

  def init(params: PyTree) -> StableAdamWState:
    def zeros() -> PyTree:
      return jax.tree.map(jnp.zeros_like, params)

    count, largest = jnp.zeros((), jnp.int32), zeros() if amsgrad else ()
    return StableAdamWState(count, zeros(), zeros(), largest)

  def update(
    updates: PyTree, state: Any, params: PyTree | None = None
  ) -> tuple[PyTree, StableAdamWState]:
    count = optax.safe_increment(state.count)
    mean = optax.tree.update_moment(updates, state.mean, b1, 1)
    square = optax.tree.update_moment(updates, state.square, b2, 2)
    largest = ()
    if amsgrad:
      largest = jax.tree.map(jnp.maximum, state.largest, square)
    step_size: Any = rate(state.count) if callable(rate) else rate
    mean_scale = step_size / _bias_correction(b1, count)
    root_scale = jax.lax.rsqrt(_bias_correction(b2, count))

    def change(p: Any, g: Any, m: Any, v: Any) -> Any:
      u = jnp.sqrt(v) * root_scale + eps
      axes = tuple(range(1 if stacked else 0, g.ndim))
      rms = jnp.sqrt(jnp.mean((g / u) ** 2, axis=axes, keepdims=True))
      rho = jnp.maximum(1.0, rms / clip_threshold)
      return -step_size * weight_decay * p - mean_scale / rho * m / u

    divisor = largest if amsgrad else square
    steps = jax.tree.map(change, params, updates, mean, divisor)
    return steps, StableAdamWState(count, mean, square, largest)

  return optax.GradientTransformation(init, update)


def _bias_correction(decay, count):
  # 1 - decay**count in float32 is off by 5e-5 at a count of one.
  return -jnp.expm1(count * math.log(decay))


def warmup_cosine(
  rate: float, warmup_steps: int, total_steps: int, end: float = 0.0
) -> optax.Schedule:
  """Linear from 0 to `rate`, then along a cosine to `end`.

  Args:
    rate: the highest rate, reached after the warm-up.
    warmup_steps: updates of the warm-up, at most `total_steps`.
    total_steps: updates in all, with those of the warm-up.
    end: the rate from `total_steps` on.
  """
  warmup_steps = min(warmup_steps, total_steps)
  # Optax requires at least one step of the cosine.
  cosine_end = max(total_steps, warmup_steps + 1)
  return optax.warmup_cosine_decay_schedule(
    0.0, rate, warmup_steps, cosine_end, end
  )


def step_decay(
  rate: float, steps: int, factor: float, offset: int = 0
) -> optax.Schedule:
  """`rate * factor**floor((count + offset) / steps)`: PyTorch's StepLR.

  Args:
    rate: the rate at the start.
    steps: updates from one drop to the next.
    factor: a drop multiplies the rate by it.
    offset: updates by which the drops come early. ProtoPNet's code steps its
      scheduler before each joint epoch, so its first drop is one epoch early.
  """

  # Any: Optax's type of a count includes complex numbers.
  def rate_at(count: Any) -> Any:
    return rate * factor ** ((count + offset) // steps)

  return rate_at


def drops_at(
  rate: float, counts: Sequence[int], factor: float
) -> optax.Schedule:
  """`rate`, times `factor` from each of the counts on; the last rate stays.

  PyTorch's MultiStepLR.

  Args:
    rate: the rate at the start.
    counts: updates done before each drop, in ascending order.
    factor: a drop multiplies the rate by it.
  """
  at = np.asarray(counts, np.int32)

  # Any: Optax's type of a count includes complex numbers.
  def rate_at(count: Any) -> Any:
    return rate * factor ** jnp.sum(jnp.asarray(count) >= at)

  return rate_at


def in_turn(
  inner: optax.GradientTransformation, branches: int, axis: int = 0
) -> optax.GradientTransformation:
  """An optimiser for branches that do not all train in every step.

  Each array holds the parameters of all branches along an axis. A branch with a
  gradient of 0 rests: its parameters, moments and counts do not change, as
  PyTorch skips a parameter whose gradient is None. Otherwise its moments and
  the weight decay would move it.

  Args:
    inner: optimiser of one branch; a schedule counts the branch's own updates.
    branches: their number.
    axis: the axis that holds the branches in equal blocks.
  """

  def stacked(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.stack(jnp.split(x, branches, axis)), tree)

  def joined(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.concatenate(list(x), axis), tree)

  def init(params: PyTree) -> optax.OptState:
    return jax.vmap(inner.init)(stacked(params))

  def one(gradients: PyTree, state: Any, params: PyTree) -> tuple:
    leaves = jax.tree.leaves(gradients)
    reached = jnp.any(jnp.stack([jnp.any(x != 0) for x in leaves]))
    updates, moved = inner.update(gradients, state, params)
    return jax.tree.map(
      lambda new, old: jnp.where(reached, new, old),
      (updates, moved),
      (jax.tree.map(jnp.zeros_like, updates), state),
    )

  def update(
    updates: PyTree, state: Any, params: PyTree | None = None
  ) -> tuple[PyTree, Any]:
    updates, state = jax.vmap(one)(stacked(updates), state, stacked(params))
    return joined(updates), state

  return optax.GradientTransformation(init, update)


def scheduled(config: Any, steps: int) -> Rate:
  """The rate of a config's group "optimizer": constant, or `warmup_cosine`.

  Args:
    config: `rate`; `cosine`, whether it falls; and `warmup`, the steps in which
      it rises before.
    steps: of the stage.
  """
  if not config.cosine:
    return config.rate
  return warmup_cosine(config.rate, config.warmup, steps)


def grouped(
  groups: Mapping[str, Rate | optax.GradientTransformation],
  clip_norm: float = 0.0,
  sharding: parallel.Sharding = parallel.LOCAL,
) -> optax.GradientTransformation:
  """One optimiser from groups of parameters; a group not named is frozen.

  Args:
    groups: top-level key of the parameters -> a rate of Adam, or an optimiser.
    clip_norm: largest norm of the gradient of all named groups together, which
      is scaled down to it first; 0: no limit.
    sharding: of the stage; the norm is that of the shards of all devices.

  Raises:
    UserError: on init, when a named group is not among the parameters.
  """
  transforms = {
    name: rule if isinstance(rule, optax.GradientTransformation) else adam(rule)
    for name, rule in groups.items()
  }

  def labels(params: Mapping[str, PyTree]) -> Mapping[str, str]:
    unknown = sorted(set(transforms) - set(params))
    if unknown:
      raise UserError(
        f"optimizer names the groups {', '.join(unknown)}, but the"
        f" parameters have {', '.join(sorted(params))}."
      )
    return {name: name if name in transforms else "frozen" for name in params}

  by_group = optax.multi_transform(
    {**transforms, "frozen": optax.set_to_zero()}, labels
  )
  if not clip_norm:
    return by_group

  def trained(params: Mapping[str, PyTree]) -> Mapping[str, bool]:
    return {name: name in transforms for name in params}

  clip = _clipped(clip_norm, sharding)
  return optax.chain(optax.masked(clip, trained), by_group)


def _clipped(
  limit: float, sharding: parallel.Sharding
) -> optax.GradientTransformation:
  """Scales gradients down to a norm; as Optax does, but for sharded arrays."""

  def init(params: PyTree) -> optax.EmptyState:
    del params
    return optax.EmptyState()

  def update(
    updates: PyTree, state: Any, params: PyTree | None = None
  ) -> tuple[PyTree, Any]:
    del params
    norm = global_norm(updates, sharding)
    small = norm < limit
    return jax.tree.map(
      lambda x: jnp.where(small, x, x / norm * limit), updates
    ), state

  return optax.GradientTransformation(init, update)


def global_norm(tree: PyTree, sharding: parallel.Sharding) -> jax.Array:
  """The Euclidean norm of all arrays; of sharded ones, over all devices."""
  squares = {"local": jnp.zeros(()), "sharded": jnp.zeros(())}

  def add(x: jax.Array, axis: int | None) -> None:
    squares["local" if axis is None else "sharded"] += jnp.sum(jnp.square(x))

  parallel.map_axes(add, tree, sharding)
  total = squares["local"]
  if sharding:
    total = total + parallel.psum(squares["sharded"])
  return jnp.sqrt(total)
