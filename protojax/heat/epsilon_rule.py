"""Relevance of pixels by the epsilon rule: the second kind of LRP.

`relevance` has the z+ rule and says what LRP is. Here every step that is linear
in the units hands on x_i R_j / (y_j + e sign(y_j)) times its derivative (Bach
et al., PLoS ONE 2015, equation 58): terms of both signs count, and a constant
that is added gets its share, too. Activations and max pooling are those of
`relevance`. Nothing is known of the range of pixels.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
from jax.extend.core import JaxprEqn
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Num

from protojax.heat import interpreter
from protojax.heat.relevance import unknown
from protojax.heat.units import all_to_one, hand
from protojax.types import Array, ArrayLike

# Captum's.
EPSILON = 1e-9


@dataclasses.dataclass(frozen=True)
class Unit:
  """Values that relevance flows through."""

  value: Array


def vjp(
  function: Callable[[ArrayLike], Array], images: Num[ArrayLike, "b H W c"]
) -> tuple[Array, Callable[[Array], Array]]:
  """`jax.vjp` whose cotangents are relevances.

  The relevances of the pixels sum up to those that `pull` is given, less the
  shares of the biases.

  Args:
    function: images -> scores.
    images: the images to explain.

  Returns:
    The scores and `pull`, relevances of scores -> relevances of pixels.

  Raises:
    UserError: the function has a step without a rule.
  """
  with jax.default_matmul_precision("highest"):
    closed = jax.make_jaxpr(function)(images)

  def forward(pixels: Array) -> Array:
    (found,) = interpreter.run(
      closed.jaxpr, closed.consts, [Unit(pixels)], (Unit,), _rule
    )
    return found.value

  scores, pull = jax.vjp(forward, jnp.asarray(images, jnp.float32))
  return scores, lambda relevance: pull(relevance)[0]


def _rule(eqn: JaxprEqn) -> interpreter.Rule:
  name = eqn.primitive.name
  if name in interpreter.CALLS:
    if interpreter.is_product(eqn):
      return _linear
    return _chosen if interpreter.is_maximum(eqn) else None
  return _RULES.get(name, unknown)


def _linear(eqn: JaxprEqn, *inputs: Any) -> Any:
  """A step that is linear in all its units together, but for a constant."""
  at = [i for i, x in enumerate(inputs) if isinstance(x, Unit)]
  if len(at) > 1 and eqn.primitive.name not in ("add", "add_any", "sub"):
    return unknown(eqn)
  if eqn.primitive.name == "div" and at != [0]:
    return unknown(eqn)

  def layer(*units: Array) -> Array:
    values = list(inputs)
    for i, x in zip(at, units, strict=True):
      values[i] = x
    (y,) = interpreter.bind(eqn, values)
    return y

  units = tuple(inputs[i].value for i in at)
  fixed = tuple(map(jax.lax.stop_gradient, units))
  y, back = jax.vjp(layer, *fixed)
  share = 1 / (y + jnp.where(y < 0, -EPSILON, EPSILON))
  return Unit(hand(units, y, Partial(_by_terms, fixed, share, back)))


def _by_terms(units, share, back, relevance):
  pulled = back(share * relevance)
  return tuple(x * g for x, g in zip(units, pulled, strict=True))


def _activation(eqn: JaxprEqn, *inputs: Any) -> Any:
  """A function of one unit and of constants: all to the one unit."""
  units = [x.value for x in inputs if isinstance(x, Unit)]
  if len(units) > 1:
    return unknown(eqn)
  fixed = [
    jax.lax.stop_gradient(x.value) if isinstance(x, Unit) else x for x in inputs
  ]
  (y,) = interpreter.bind(eqn, fixed)
  return Unit(hand(units[0], y, all_to_one))


def _chosen(eqn: JaxprEqn, *inputs: Any) -> list[Unit]:
  """Units at other places, or the largest ones: as the gradient goes."""
  values = [x.value if isinstance(x, Unit) else x for x in inputs]
  return [Unit(y) for y in interpreter.bind(eqn, values)]


_RULES = {
  **dict.fromkeys(interpreter.MOVES, _chosen),
  **dict.fromkeys(("clamp", "logistic", "max", "min", "tanh"), _activation),
  **dict.fromkeys(("reduce_max", "reduce_window_max"), _chosen),
  **dict.fromkeys(
    (
      "add",
      "add_any",
      "conv_general_dilated",
      "div",
      "dot_general",
      "mul",
      "neg",
      "reduce_sum",
      "reduce_window_sum",
      "sub",
    ),
    _linear,
  ),
}
