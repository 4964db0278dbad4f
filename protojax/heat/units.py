"""Units of a network and sums over them, through which relevance flows.

`relevance` chooses the rule of each step. Here is how a unit passes its
relevance on to its inputs: values are those of the network, and the derivative
that JAX computes of them is relevance.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from protojax.types import Array

# Tiny, but its square is not 0 in float32.
_FLOOR = 1e-9


@dataclasses.dataclass(frozen=True)
class Units:
  """Values that relevance flows through.

  Attributes:
    value: the values.
    plus: what a positive weight is multiplied by, at least 0.
    minus: what a negative weight is multiplied by; None if no value is
      negative.
    pixels: whether `plus` and `minus` are distances from the bounds of pixels;
      those of other units are distances from zero.
  """

  value: Array
  plus: Array
  minus: Array | None
  pixels: bool = False

  @classmethod
  def of(cls, value: Array, signed: bool = True) -> "Units":
    """Units whose `plus` and `minus` are distances from zero."""
    fixed = jax.lax.stop_gradient(value)
    minus = jax.nn.relu(-fixed) + _FLOOR if signed else None
    return cls(value, jax.nn.relu(fixed) + _FLOOR, minus)

  @classmethod
  def of_pixels(cls, value: Array, low: float, high: float) -> "Units":
    """Units whose `plus` and `minus` are distances from the bounds."""
    fixed = jax.lax.stop_gradient(value)
    return cls(value, fixed - low + _FLOOR, high - fixed + _FLOOR, True)

  @property
  def units(self) -> "Units":
    """Itself; see `Sum.units`."""
    return self

  @property
  def fixed(self) -> Array:
    """The values without derivative, for steps with a rule of their own."""
    return jax.lax.stop_gradient(self.value)

  def component(self, name: str) -> Array:
    """An attribute by its name; tiny numbers where `minus` is None."""
    found = getattr(self, name)
    return jnp.full_like(self.plus, _FLOOR) if found is None else found

  def scaled(self, c: Any) -> "Units":
    """Times a constant: all relevance goes to the one unit."""
    value = hand(self.value, self.fixed * c, all_to_one)
    if not self.pixels:
      return Units.of(value)
    up, down = jax.nn.relu(c), jax.nn.relu(-c)
    plus, minus = self.plus, self.component("minus")
    ends = up * plus + down * minus, up * minus + down * plus
    return Units(value, *ends, True)

  def shifted(self, c: Any) -> "Units":
    """Plus a constant, which gets no relevance."""
    value = self.value + c
    if not self.pixels:
      return Units.of(value)
    return dataclasses.replace(self, value=value)


@dataclasses.dataclass
class Sum:
  """A weighted sum with the affine steps after it: scale * total + offset.

  Attributes:
    x: the units that are summed.
    total: their weighted sum.
    rise: the sum of units, weighted by the positive weights.
    fall: the sum of units, weighted by the sizes of the negative weights.
    scale: the factor.
    offset: the bias.
  """

  x: Units
  total: Array
  rise: Callable[[Array], Array]
  fall: Callable[[Array], Array]
  scale: Any = 1.0
  offset: Any = 0.0

  @classmethod
  def of(cls, x: Units, layer: Callable[..., Array], *weights: Any) -> "Sum":
    """`layer(values, *weights)`, with one array of weights or with none."""
    total = layer(x.fixed, *weights)
    if not weights:
      return cls(x, total, layer, lambda x: _FLOOR * layer(x))
    (w,) = weights
    up, down = jax.nn.relu(w) + _FLOOR, jax.nn.relu(-w) + _FLOOR
    return cls(x, total, lambda x: layer(x, up), lambda x: layer(x, down))

  def scaled(self, c: Any) -> "Sum":
    """Times a constant."""
    scale, offset = self.scale * c, self.offset * c
    return dataclasses.replace(self, scale=scale, offset=offset)

  def shifted(self, c: Any) -> "Sum":
    """Plus a constant."""
    return dataclasses.replace(self, offset=self.offset + c)

  @functools.cached_property
  def units(self) -> Units:
    """The result; its relevance goes to the terms of the same sign."""
    y = self.scale * self.total + self.offset
    sides = (self.x.plus, self.x.minus)
    (above, below), back = jax.vjp(self._terms, sides)
    same = _sign(y) * jnp.sign(self.scale) >= 0
    share = jnp.where(same, 1 / above, -1 / below)
    give = Partial(_by_terms, share, sides, back)
    return Units.of(hand(self.x.value, y, give))

  def _terms(self, sides: tuple[Array, Array | None]) -> tuple[Array, Array]:
    """Sums of the terms above zero and of the sizes of those below."""
    plus, minus = sides
    above, below = self.rise(plus), self.fall(plus)
    if minus is None:
      return above, below
    return above + self.fall(minus), below + self.rise(minus)


# The types that carry relevance through a network.
Flow = Units | Sum


def joined(a: Units, b: Units) -> Units:
  """a + b, whose relevance goes to the terms of the same sign."""
  y = a.fixed + b.fixed
  terms = [jax.nn.relu(_sign(y) * x.fixed) + _FLOOR for x in (a, b)]
  shares = tuple(term / (terms[0] + terms[1]) for term in terms)
  return Units.of(hand((a.value, b.value), y, Partial(_by_share, shares)))


@jax.custom_vjp
def hand(x: Any, y: Array, give: Partial) -> Array:
  """y, whose relevance R goes to x as give(R)."""
  del x, give
  return y


def _hand_forward(x, y, give):
  del x
  return y, give


def _hand_backward(give, relevance):
  return give(relevance), None, None


hand.defvjp(_hand_forward, _hand_backward)

# Gives all to the one unit.
all_to_one = Partial(lambda relevance: relevance)


def _by_share(shares, relevance):
  return tuple(share * relevance for share in shares)


def _by_terms(share, sides, back, relevance):
  """Positive shares are of terms above zero, negative shares of those below."""
  above, below = jax.nn.relu(share), jax.nn.relu(-share)
  (pulled,) = back((above * relevance, below * relevance))
  products = jax.tree.map(jnp.multiply, sides, pulled)
  return sum(jax.tree.leaves(products))


def _sign(y: Array) -> Array:
  return jnp.where(y < 0, -1.0, 1.0)
