"""What relevance flows through: units of a network, and sums over them.

`relevance` has the rules of which step gives what; here is how a unit hands
what it gets to those it was made of. Values are those of the network; the
derivative of each, as JAX takes it, is relevance.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from protojax.types import Array

# Its square still counts in float32.
_FLOOR = 1e-9


@dataclasses.dataclass(frozen=True)
class Units:
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

  @classmethod
  def of(cls, value: Array, signed: bool = True) -> "Units":
    """Units that stand at their distance from zero."""
    fixed = jax.lax.stop_gradient(value)
    minus = jax.nn.relu(-fixed) + _FLOOR if signed else None
    return cls(value, jax.nn.relu(fixed) + _FLOOR, minus)

  @classmethod
  def of_pixels(cls, value: Array, low: float, high: float) -> "Units":
    """Pixels that stand at their distance from the bounds."""
    fixed = jax.lax.stop_gradient(value)
    return cls(value, fixed - low + _FLOOR, high - fixed + _FLOOR, True)

  @property
  def units(self) -> "Units":
    """Itself; of a `Sum`, what becomes of it."""
    return self

  @property
  def fixed(self) -> Array:
    """The values, for what is made of them by a rule of its own."""
    return jax.lax.stop_gradient(self.value)

  def part(self, name: str) -> Array:
    """An attribute, the nothing that "minus" is among signed units, too."""
    found = getattr(self, name)
    return jnp.full_like(self.plus, _FLOOR) if found is None else found

  def scaled(self, c: Any) -> "Units":
    """Times a constant: all relevance goes to the one unit."""
    value = hand(self.value, self.fixed * c, whole)
    if not self.pixels:
      return Units.of(value)
    up, down = jax.nn.relu(c), jax.nn.relu(-c)
    plus, minus = self.plus, self.part("minus")
    ends = up * plus + down * minus, up * minus + down * plus
    return Units(value, *ends, True)

  def shifted(self, c: Any) -> "Units":
    """Plus a constant, which takes no relevance."""
    value = self.value + c
    if not self.pixels:
      return Units.of(value)
    return dataclasses.replace(self, value=value)


@dataclasses.dataclass
class Sum:
  """A weighted sum that the affine steps after it are folded into.

  Attributes:
    x: the units that are summed.
    total: their weighted sum.
    rise: what sums up units by the positive parts of the weights.
    fall: the same by the sizes of the negative parts.
    scale: of what becomes of the sum, scale * total + offset.
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
    """What becomes of it; relevance goes to the terms of the same sign."""
    y = self.scale * self.total + self.offset
    parts = (self.x.plus, self.x.minus)
    (above, below), back = jax.vjp(self._terms, parts)
    same = _sign(y) * jnp.sign(self.scale) >= 0
    share = jnp.where(same, 1 / above, -1 / below)
    give = Partial(_by_terms, share, parts, back)
    return Units.of(hand(self.x.value, y, give))

  def _terms(self, parts: tuple[Array, Array | None]) -> tuple[Array, Array]:
    """Sums of the terms above zero and of the sizes of those below."""
    plus, minus = parts
    above, below = self.rise(plus), self.fall(plus)
    if minus is None:
      return above, below
    return above + self.fall(minus), below + self.rise(minus)


# All that may flow through a network.
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
whole = Partial(lambda relevance: relevance)


def _by_share(shares, relevance):
  return tuple(share * relevance for share in shares)


def _by_terms(share, parts, back, relevance):
  """A positive share is one of the terms above zero, a negative one below."""
  above, below = jax.nn.relu(share), jax.nn.relu(-share)
  (pulled,) = back((above * relevance, below * relevance))
  products = jax.tree.map(jnp.multiply, parts, pulled)
  return sum(jax.tree.leaves(products))


def _sign(y: Array) -> Array:
  return jnp.where(y < 0, -1.0, 1.0)
