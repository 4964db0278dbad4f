"""Relevance of pixels for features: layer-wise relevance propagation (LRP).

`vjp` is `jax.vjp` with another backward pass: the relevances of the pixels sum
up to those of the features. It reads the steps of a function from its jaxpr,
so it works for any module, and refuses a step without a rule. `attribution.prp`
starts it from the shares of channels in a similarity.

The rules (Bach et al., PLoS ONE 2015; Montavon et al., "Layer-Wise Relevance
Propagation: An Overview", 2019):

  weighted sum   y_j = sum_i x_i w_ij + b_j: R_i = sum_j R_j z_ij / sum_i z_ij,
                 where z_ij is the size of x_i w_ij if it has the sign of y_j,
                 else 0. For y_j > 0, as behind a ReLU, that is the z+ rule
                 (alpha 1, beta 0). The bias gets nothing.
  pixels         z^B rule: in the first weighted sum x_i is its distance from
                 the lowest value for a positive weight, from the highest for a
                 negative weight: z_ij = (x_i - l) w_ij+ + (x_i - h) w_ij-.
  BatchNorm      folded into the weighted sum before it; where there is none
                 (as in a DenseNet) all to the one input.
  x + y          a weighted sum of two terms.
  ReLU, sigmoid  all to the one input.
  max pooling    all to the largest input.
  moves          reshaping, padding, joining: to the place it came from.

A sum may have no term of its own sign, such as a sum of zeros and a bias. Its
relevance would be lost. So a tiny number is added to each x_i and w_ij: the
relevance is then shared out by the weights, or evenly. No other sum changes.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import JaxprEqn
import jax.numpy as jnp
from jaxtyping import Num
import numpy as np

from protojax.heat import interpreter
from protojax.heat.units import Flow, Sum, Units, all_to_one, hand, joined
from protojax.types import Array, ArrayLike, UserError


def vjp(
  function: Callable[[ArrayLike], Array],
  images: Num[ArrayLike, "b H W c"],
  low: float = 0.0,
  high: float = 255.0,
) -> tuple[Array, Callable[[Array], Array]]:
  """`jax.vjp` whose cotangents are relevances.

  The relevances that `pull` returns sum up to those that it is given.
  `jax.vmap(pull)` pulls relevances of many targets after one forward pass. It
  takes two to four products for each product of `jax.vjp`, and stores two to
  three times the maps.

  Args:
    function: images -> features.
    images: the images to explain.
    low: the smallest value of a pixel.
    high: the largest value of a pixel.

  Returns:
    The features and `pull`, relevances of features -> relevances of pixels.

  Raises:
    UserError: the function has a step without a rule.
  """
  # With TF32 products the shares of the terms do not sum up to the whole.
  with jax.default_matmul_precision("highest"):
    closed = jax.make_jaxpr(function)(images)

  def forward(pixels: Array) -> Array:
    units = Units.of_pixels(pixels, low, high)
    (features,) = interpreter.run(
      closed.jaxpr, closed.consts, [units], (Units, Sum), _rule
    )
    return features.units.value

  features, pull = jax.vjp(forward, jnp.asarray(images, jnp.float32))
  return features, lambda relevance: pull(relevance)[0]


def _rule(eqn: JaxprEqn) -> interpreter.Rule:
  name = eqn.primitive.name
  if name in interpreter.CALLS:
    if interpreter.is_product(eqn):
      return _weighted
    return _largest if interpreter.is_maximum(eqn) else None
  return _RULES.get(name, unknown)


def _weighted(eqn: JaxprEqn, *inputs) -> Flow:
  """Sums, or sums weighted by one constant."""
  flows = [isinstance(x, Flow) for x in inputs]
  if sum(flows) > 1:
    return unknown(eqn)
  at = flows.index(True)

  def layer(x: Array, *weights: Any) -> Array:
    (y,) = interpreter.bind(eqn, [*weights[:at], x, *weights[at:]])
    return y

  return Sum.of(inputs[at].units, layer, *inputs[:at], *inputs[at + 1 :])


def _added(eqn: JaxprEqn, a: Any, b: Any) -> Flow:
  del eqn
  if not isinstance(b, Flow):
    return a.shifted(b)
  return joined(a.units, b.units) if isinstance(a, Flow) else b.shifted(a)


def _subtracted(eqn: JaxprEqn, a: Any, b: Any) -> Flow:
  return _added(eqn, a, b.scaled(-1.0) if isinstance(b, Flow) else -b)


def _multiplied(eqn: JaxprEqn, a: Any, b: Any) -> Flow:
  if isinstance(a, Flow) and isinstance(b, Flow):
    return unknown(eqn)
  return a.scaled(b) if isinstance(a, Flow) else b.scaled(a)


def _divided(eqn: JaxprEqn, a: Any, b: Any) -> Flow:
  return unknown(eqn) if isinstance(b, Flow) else a.scaled(1 / b)


def _negated(eqn: JaxprEqn, x: Flow) -> Flow:
  del eqn
  return x.scaled(-1.0)


def _activation(eqn: JaxprEqn, *inputs) -> Flow:
  """A function of one unit and of constants."""
  flows = [x.units for x in inputs if isinstance(x, Flow)]
  if len(flows) > 1:
    return unknown(eqn)
  fixed = [x.units.fixed if isinstance(x, Flow) else x for x in inputs]
  (y,) = interpreter.bind(eqn, fixed)
  name = eqn.primitive.name
  sure = [_not_negative(x) for x in inputs if not isinstance(x, Flow)]
  positive = flows[0].minus is None and all(sure)
  positive |= name == "logistic" or (name == "max" and any(sure))
  return Units.of(hand(flows[0].value, y, all_to_one), signed=not positive)


def _not_negative(c: Any) -> bool:
  """Whether a constant is at least 0 in every run of the program."""
  return not isinstance(c, jax.core.Tracer) and bool(np.all(np.asarray(c) >= 0))


def _largest(eqn: JaxprEqn, x: Flow) -> Units:
  """All relevance goes to the largest input, as the gradient does."""
  (y,) = interpreter.bind(eqn, [x.units.value])
  return Units.of(y, signed=x.units.minus is not None)


def _moved(eqn: JaxprEqn, *inputs) -> list[Units]:
  """Units at other places, with constants between them."""
  flows = [x.units for x in inputs if isinstance(x, Flow)]

  def moved(name: str) -> list[Array]:
    return interpreter.bind(eqn, [_component(x, name) for x in inputs])

  signed = any(x.minus is not None for x in flows)
  minus = moved("minus") if signed else [None] * len(eqn.outvars)
  components = zip(moved("value"), moved("plus"), minus, strict=True)
  pixels = all(x.pixels for x in flows)
  return [Units(*each, pixels) for each in components]


def _component(x: Any, name: str) -> Array:
  if isinstance(x, Flow):
    return x.units.component(name)
  return x if name == "value" else jnp.zeros_like(x)


def unknown(eqn: JaxprEqn, *inputs) -> Flow:
  """The rule of all other steps: they are refused."""
  del inputs
  raise UserError(
    f"relevance has no rule for '{eqn.primitive.name}' in"
    f" {eqn.source_info.name_stack or 'the network'}: it knows convolutions,"
    " sums, pooling, BatchNorm, ReLU and sigmoid. Take another attribution,"
    " such as saliency."
  )


_RULES = {
  **dict.fromkeys(interpreter.MOVES, _moved),
  **dict.fromkeys(("clamp", "logistic", "max", "min", "tanh"), _activation),
  **dict.fromkeys(("conv_general_dilated", "dot_general"), _weighted),
  **dict.fromkeys(("reduce_max", "reduce_window_max"), _largest),
  **dict.fromkeys(("reduce_sum", "reduce_window_sum"), _weighted),
  "add": _added,
  "add_any": _added,
  "div": _divided,
  "mul": _multiplied,
  "neg": _negated,
  "sub": _subtracted,
}
