"""Relevance of pixels for features: layer-wise relevance propagation (LRP).

`vjp` is `jax.vjp` with another backward pass: what is put in at the features
arrives at the pixels, no more and no less. It reads the steps of a function
from its jaxpr, so it knows no module by name and refuses a step that it has no
rule for. `attribution.prp` puts in what makes a patch like a prototype.

The rules (Bach et al., PLoS ONE 2015; Montavon et al., "Layer-Wise Relevance
Propagation: An Overview", 2019):

  weighted sum   y_j = sum_i x_i w_ij + b_j: R_i = sum_j R_j z_ij / sum_i z_ij,
                 where z_ij is the size of x_i w_ij if it has the sign of y_j,
                 else 0. For y_j > 0, as behind a ReLU, that is the z+ rule
                 (alpha 1, beta 0). The bias takes nothing.
  pixels         z^B rule: in the first weighted sum x_i stands at its distance
                 from the lowest value for a positive weight, from the highest
                 for a negative one: z_ij = (x_i - l) w_ij+ + (x_i - h) w_ij-.
  BatchNorm      folded into the weighted sum before it, or where there is none
                 (as in a DenseNet) into the one after it.
  x + y          a weighted sum of two terms.
  ReLU, sigmoid  all to the one input.
  max pooling    all to the largest input.
  moves          reshaping, padding, joining: to where it came from.

A sum none of whose terms has its sign, such as one of zeros and a bias, would
lose its relevance. So each x_i and w_ij counts `_FLOOR` more, which shares it
out by the weights, or evenly, and changes no other sum.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
from jax.extend.core import JaxprEqn
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Num
import numpy as np

from protojax.explain import program
from protojax.types import Array, ArrayLike, UserError

# Its square still counts in float32.
_FLOOR = 1e-9


def vjp(
  function: Callable[[ArrayLike], Array],
  images: Num[ArrayLike, "b H W c"],
  low: float = 0.0,
  high: float = 255.0,
) -> tuple[Array, Callable[[Array], Array]]:
  """`jax.vjp` whose cotangents are relevances.

  The sum over pixels of what `pull` returns equals the sum of what it got.
  Relevances of many targets are pulled by `jax.vmap(pull)`, from one forward
  pass; that keeps about three times the maps that `jax.vjp` does, and a pull
  takes two to four times the products.

  Args:
    function: images -> features.
    images: what to explain, in pixels.
    low: the smallest value a pixel can have.
    high: the largest.

  Returns:
    The features and `pull`, relevances of features -> relevances of pixels.

  Raises:
    UserError: the function takes a step that there is no rule for.
  """
  # With TF32 products, what the terms share out is not what they sum up to.
  with jax.default_matmul_precision("highest"):
    closed = jax.make_jaxpr(function)(images)

  def forward(pixels: Array) -> Array:
    fixed = jax.lax.stop_gradient(pixels)
    units = _Units(
      pixels, fixed - low + _FLOOR, high - fixed + _FLOOR, pixels=True
    )
    (features,) = program.run(
      closed.jaxpr, closed.consts, [units], (_Units, _Sum), _rule
    )
    return features.units.value

  features, pull = jax.vjp(forward, jnp.asarray(images, jnp.float32))
  return features, lambda relevance: pull(relevance)[0]


@dataclasses.dataclass(frozen=True)
class _Units:
  """Values that relevance flows through.

  Attributes:
    value: of each unit.
    plus: what a positive weight gets hold of, at least 0.
    minus: what a negative one does; None where no value is negative.
    pixels: whether those are distances from the bounds of pixels; of other
      units, from zero.
  """

  value: Array
  plus: Array
  minus: Array | None
  pixels: bool = False

  @property
  def units(self) -> "_Units":
    return self

  def scaled(self, c) -> "_Units":
    y = jax.lax.stop_gradient(self.value) * c
    value = _hand(self.value, y, Partial(_whole))
    if not self.pixels:
      return _fresh(value)
    up, down = jax.nn.relu(c), jax.nn.relu(-c)
    plus, minus = self.plus, self.minus
    return _Units(
      value, up * plus + down * minus, up * minus + down * plus, True
    )

  def shifted(self, c) -> "_Units":
    value = self.value + c
    if not self.pixels:
      return _fresh(value)
    return dataclasses.replace(self, value=value)


@dataclasses.dataclass
class _Sum:
  """A weighted sum that the affine steps after it are folded into.

  Attributes:
    x: the units that are summed.
    total: their weighted sum.
    rise: what sums up units by the positive parts of the weights.
    fall: the same by the sizes of the negative parts.
    scale: of what becomes of the sum, scale * total + offset.
    offset: the bias.
  """

  x: _Units
  total: Array
  rise: Callable[[Array], Array]
  fall: Callable[[Array], Array]
  scale: Any = 1.0
  offset: Any = 0.0

  def scaled(self, c) -> "_Sum":
    scale, offset = self.scale * c, self.offset * c
    return dataclasses.replace(self, scale=scale, offset=offset)

  def shifted(self, c) -> "_Sum":
    return dataclasses.replace(self, offset=self.offset + c)

  @functools.cached_property
  def units(self) -> _Units:
    y = self.scale * self.total + self.offset
    parts = (self.x.plus, self.x.minus)
    (rise, fall), back = jax.vjp(self._terms, parts)
    # Terms on the side that y is on once they are scaled.
    up = _sign(y) * jnp.sign(self.scale) >= 0
    share = jnp.where(up, 1 / rise, -1 / fall)
    return _fresh(
      _hand(self.x.value, y, Partial(_by_terms, share, parts, back))
    )

  def _terms(self, parts) -> tuple[Array, Array]:
    """Sums of the terms above and of those below zero, by size."""
    plus, minus = parts
    rise, fall = self.rise(plus), self.fall(plus)
    if minus is None:
      return rise, fall
    return rise + self.fall(minus), fall + self.rise(minus)


# What flows through a program: units, or a sum that may yet be scaled.
_Flow = _Units | _Sum


def _fresh(value: Array, signed: bool = True) -> _Units:
  """Units that stand at their distance from zero."""
  fixed = jax.lax.stop_gradient(value)
  minus = jax.nn.relu(-fixed) + _FLOOR if signed else None
  return _Units(value, jax.nn.relu(fixed) + _FLOOR, minus)


# The rules: what flows into a step -> what flows out of it.


def _unknown(eqn: JaxprEqn, *inputs) -> _Flow:
  del inputs
  raise UserError(
    f"relevance has no rule for '{eqn.primitive.name}' in"
    f" {eqn.source_info.name_stack or 'the network'}: it knows convolutions,"
    " sums, pooling, BatchNorm, ReLU and sigmoid. Take another attribution,"
    " such as saliency."
  )


def _move(eqn: JaxprEqn, *inputs) -> _Units:
  """Values that come to stand elsewhere, between constants."""
  flows = [x.units for x in inputs if isinstance(x, _Flow)]

  def moved(part: str) -> Array:
    (y,) = program.bind(eqn, [_part(x, part) for x in inputs])
    return y

  signed = any(x.minus is not None for x in flows)
  minus = moved("minus") if signed else None
  pixels = all(x.pixels for x in flows)
  return _Units(moved("value"), moved("plus"), minus, pixels)


def _part(x: Any, part: str) -> Array:
  if not isinstance(x, _Flow):
    return x if part == "value" else jnp.zeros_like(x)
  found = getattr(x.units, part)
  return jnp.full_like(x.units.plus, _FLOOR) if found is None else found


def _winner(eqn: JaxprEqn, x: _Flow) -> _Units:
  """The largest of some values; the gradient goes to where it was."""
  (y,) = program.bind(eqn, [x.units.value])
  return _fresh(y, x.units.minus is not None)


def _activation(eqn: JaxprEqn, *inputs) -> _Flow:
  """A function of one unit, between constants."""
  flows = [x.units for x in inputs if isinstance(x, _Flow)]
  if len(flows) > 1:
    return _unknown(eqn)
  (x,) = flows
  (y,) = program.bind(eqn, [_fixed(x) for x in inputs])
  bounds = [c for c in inputs if not isinstance(c, _Flow)]
  name, sure = eqn.primitive.name, [_not_negative(c) for c in bounds]
  positive = x.minus is None and all(sure)
  positive |= name == "logistic" or (name == "max" and any(sure))
  return _fresh(_hand(x.value, y, Partial(_whole)), not positive)


def _not_negative(c: Any) -> bool:
  """Whether a constant is at least 0 in every run of the program."""
  return not isinstance(c, jax.core.Tracer) and bool(np.all(np.asarray(c) >= 0))


def _multiplied(eqn: JaxprEqn, a: Any, b: Any) -> _Flow:
  if isinstance(a, _Flow) and isinstance(b, _Flow):
    return _unknown(eqn)
  return a.scaled(b) if isinstance(a, _Flow) else b.scaled(a)


def _divided(eqn: JaxprEqn, a: Any, b: Any) -> _Flow:
  return _unknown(eqn) if isinstance(b, _Flow) else a.scaled(1 / b)


def _negated(eqn: JaxprEqn, x: _Flow) -> _Flow:
  del eqn
  return x.scaled(-1.0)


def _subtracted(eqn: JaxprEqn, a: Any, b: Any) -> _Flow:
  return _added(eqn, a, b.scaled(-1.0) if isinstance(b, _Flow) else -b)


def _added(eqn: JaxprEqn, a: Any, b: Any) -> _Flow:
  if not isinstance(b, _Flow):
    return a.shifted(b)
  if not isinstance(a, _Flow):
    return b.shifted(a)
  values = a.units.value, b.units.value
  fixed = jax.lax.stop_gradient(values)
  y = fixed[0] + fixed[1]
  terms = [jax.nn.relu(_sign(y) * x) + _FLOOR for x in fixed]
  shares = [term / (terms[0] + terms[1]) for term in terms]
  return _fresh(_hand(values, y, Partial(_by_share, tuple(shares))))


def _weighted(eqn: JaxprEqn, *inputs) -> _Flow:
  """Sums, or sums weighted by one constant."""
  flows = [isinstance(x, _Flow) for x in inputs]
  if sum(flows) > 1:
    return _unknown(eqn)
  at = flows.index(True)
  x, constants = inputs[at].units, [*inputs[:at], *inputs[at + 1 :]]

  def layer(x, *constants):
    (y,) = program.bind(eqn, [*constants[:at], x, *constants[at:]])
    return y

  total = layer(jax.lax.stop_gradient(x.value), *constants)
  if not constants:
    return _Sum(x, total, layer, lambda x: _FLOOR * layer(x))
  (w,) = constants
  up, down = jax.nn.relu(w) + _FLOOR, jax.nn.relu(-w) + _FLOOR
  return _Sum(x, total, lambda x: layer(x, up), lambda x: layer(x, down))


# How relevance is handed back.


@jax.custom_vjp
def _hand(x: Any, y: Array, share: Callable[[Array], Any]) -> Array:
  """y, whose relevance R goes to x as share(R)."""
  del x, share
  return y


def _hand_forward(x, y, share):
  del x
  return y, share


def _hand_backward(share, relevance):
  return share(relevance), None, None


_hand.defvjp(_hand_forward, _hand_backward)


def _whole(relevance):
  return relevance


def _by_share(shares, relevance):
  return tuple(share * relevance for share in shares)


def _by_terms(share, parts, back, relevance):
  rise, fall = jax.nn.relu(share), jax.nn.relu(-share)
  (pulled,) = back((rise * relevance, fall * relevance))
  products = jax.tree.map(jnp.multiply, parts, pulled)
  return sum(jax.tree.leaves(products))


def _sign(y: Array) -> Array:
  return jnp.where(y < 0, -1.0, 1.0)


def _fixed(x: Any) -> Any:
  return jax.lax.stop_gradient(x.units.value) if isinstance(x, _Flow) else x


_RULES = {
  **dict.fromkeys(program.MOVES, _move),
  **dict.fromkeys(("reduce_max", "reduce_window_max"), _winner),
  **dict.fromkeys(("clamp", "logistic", "max", "min", "tanh"), _activation),
  **dict.fromkeys(("conv_general_dilated", "dot_general"), _weighted),
  **dict.fromkeys(("reduce_sum", "reduce_window_sum"), _weighted),
  "add": _added,
  "add_any": _added,
  "div": _divided,
  "mul": _multiplied,
  "neg": _negated,
  "sub": _subtracted,
}


def _rule(eqn: JaxprEqn) -> program.Rule:
  name = eqn.primitive.name
  if name in program.CALLS:
    return _weighted if program.is_product(eqn) else None
  return _RULES.get(name, _unknown)
