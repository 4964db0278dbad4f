"""Optimisers by group of parameters, as the papers' tables give them."""

from collections.abc import Mapping
from typing import Any

import optax

from protojax.types import PyTree, UserError

Rate = float | optax.Schedule


def adam(rate: Rate, weight_decay: float = 0.0) -> optax.GradientTransformation:
  """Adam with L2 regularisation, as PyTorch's `Adam(weight_decay=...)`.

  The decay is added to the gradient before the moments see it (this is not
  AdamW), biases included: protopnet.md section 5.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay)
    if weight_decay
    else optax.identity(),
    optax.scale_by_adam(),
    optax.scale_by_learning_rate(rate),
  )


def step_decay(
  rate: float, steps: int, factor: float, offset: int = 0
) -> optax.Schedule:
  """`rate * factor**floor((count + offset) / steps)`: PyTorch's StepLR.

  Args:
    rate: the rate at the start.
    steps: updates from one drop to the next.
    factor: what a drop multiplies the rate by.
    offset: updates by which the drops come early. ProtoPNet steps its
      scheduler before each joint epoch, so its first drop comes one epoch
      early (protopnet.md section 5).
  """

  # Any, since to Optax a count may be complex, too.
  def rate_at(count: Any) -> Any:
    return rate * factor ** ((count + offset) // steps)

  return rate_at


def grouped(
  groups: Mapping[str, Rate | optax.GradientTransformation],
) -> optax.GradientTransformation:
  """One optimiser from groups of parameters; a group not named is frozen.

  Args:
    groups: for each top-level key of the parameters a rate (of Adam) or a
      transformation of its own.

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

  return optax.multi_transform(
    {**transforms, "frozen": optax.set_to_zero()}, labels
  )
