"""Which parameters of ScaleProtoSeg a stage moves, and how fast."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from protojax.types import PyTree


def falling(count: int, rate: float, power: float) -> optax.Schedule:
  """rate (1 - step / count)^power, DeepLab's."""

  # Any: Optax's type of a count includes complex numbers.
  def rate_at(step: Any) -> Any:
    # Clipped: rounding makes it negative at the end, and the power nan.
    return rate * jnp.maximum(1 - step / count, 0) ** power

  return rate_at


def convolutions(
  rule: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """The rule for all but norms, which the authors' code never trains."""

  def label(path: list[str]) -> str:
    return "" if any("norm" in name for name in path) else "trained"

  return by_path({"trained": rule}, label)


def by_path(
  rules: Mapping[str, optax.GradientTransformation],
  label: Callable[[list[str]], str],
) -> optax.GradientTransformation:
  """A rule for each array, by the label of its path; without one, it rests."""

  def labels(params: PyTree) -> PyTree:
    def of(path: Any, leaf: Any) -> str:
      del leaf
      found = label([getattr(part, "key", "") for part in path])
      return found if found in rules else "frozen"

    return jax.tree_util.tree_map_with_path(of, params)

  return optax.multi_transform({**rules, "frozen": optax.set_to_zero()}, labels)
