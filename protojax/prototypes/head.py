"""From scores to logits: a weighted sum that can be read as points.

Last step of the forward path. A logit is a sum of points, score times weight,
which the scoring sheet of an explanation shows. The weights have one of two
forms. `Dense` has one for every class and prototype. `ClassBlock` has one from
each prototype to its own class and a single one for all other pairs, so that
its size does not grow with the number of classes.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.prototypes.distance import PRECISION
from protojax.types import ArrayLike, UserError

# The initial weights (ProtoPNet, section 2.2).
OWN_CLASS = 1.0
OTHER_CLASS = -0.5

KINDS = ("dense", "class_block")
# Parameters that are weights, of either form.
_WEIGHTS = ("weight", "own", "off")
Params = Mapping[str, Any]
# Parameters, and the number of pairs (class k, living prototype j) with
# c(j) != k whose weight each of them is.
OffClass = tuple[Float[jax.Array, "*n"], Float[jax.Array, "*n"]]


@dataclasses.dataclass(frozen=True)
class Dense:
  """A weight of its own for every class and prototype.

  Attributes:
    weight: [k p].
  """

  weight: Float[ArrayLike, "k p"]

  def logits(
    self,
    scores: Float[ArrayLike, "b p"],
    class_of: Int[ArrayLike, " p"],
    alive: Bool[ArrayLike, " p"],
  ) -> Float[jax.Array, "b k"]:
    """Weighted sums over the prototypes that are alive."""
    del class_of
    return logits(scores, self.weight, alive)

  def weights(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> Float[jax.Array, "k p"]:
    """Weights of every class and prototype; 0 for dead prototypes."""
    del class_of
    return jnp.where(jnp.asarray(alive)[None], self.weight, 0.0)

  def toward(
    self,
    classes: Int[ArrayLike, " b"],
    class_of: Int[ArrayLike, " p"],
    alive: Bool[ArrayLike, " p"],
  ) -> Float[jax.Array, "b p"]:
    """The rows of `weights` for these classes alone."""
    del class_of
    chosen = jnp.asarray(self.weight)[classes]
    return jnp.where(jnp.asarray(alive)[None], chosen, 0.0)

  def entries(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> tuple[Params, Params]:
    """The number of pairs (k, living j) whose weight each parameter is.

    Returns:
      Pairs with c(j) = k, and all others; as trees like the parameters.
    """
    own = jnp.arange(len(self.weight))[:, None] == class_of[None]
    return {"weight": own & alive[None]}, {"weight": ~own & alive[None]}

  def off_class(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> OffClass:
    """Weights to other classes than the prototype's, for their L1 norm."""
    off = jnp.arange(len(self.weight))[:, None] != class_of[None]
    entries = (off & alive[None]).astype(jnp.float32)
    return jnp.asarray(self.weight), entries


@dataclasses.dataclass(frozen=True)
class ClassBlock:
  """A weight from each prototype to its class, and one for all other pairs.

  w(k, j) is own_j where c(j) = k, and off elsewhere: like the initial weights,
  and with P + 1 numbers for any number of classes. See `Dense` for the methods;
  only `weights` makes K x P numbers.

  Attributes:
    own: [p].
    off: [].
    classes: k.
  """

  own: Float[ArrayLike, " p"]
  off: Float[ArrayLike, ""]
  classes: int

  def logits(
    self,
    scores: Float[ArrayLike, "b p"],
    class_of: Int[ArrayLike, " p"],
    alive: Bool[ArrayLike, " p"],
  ) -> Float[jax.Array, "b k"]:
    """off * sum of all scores + sum of the class's (own - off) * scores."""
    scores = jnp.where(alive[None], scores, 0.0)
    more = jnp.where(alive, self.own - self.off, 0.0)
    by_class = jax.ops.segment_sum(
      (scores * more[None]).T, class_of, self.classes
    )
    return by_class.T + self.off * jnp.sum(scores, axis=1, keepdims=True)

  def weights(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> Float[jax.Array, "k p"]:
    """Weights of every class and prototype; 0 for dead prototypes."""
    return self.toward(jnp.arange(self.classes), class_of, alive)

  def toward(
    self,
    classes: Int[ArrayLike, " b"],
    class_of: Int[ArrayLike, " p"],
    alive: Bool[ArrayLike, " p"],
  ) -> Float[jax.Array, "b p"]:
    """The rows of `weights` for these classes alone."""
    own = jnp.asarray(classes)[:, None] == class_of[None]
    weights = jnp.where(own, self.own[None], self.off)
    return jnp.where(alive[None], weights, 0.0)

  def entries(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> tuple[Params, Params]:
    """The number of pairs (k, living j) whose weight each parameter is."""
    _, others = self.off_class(class_of, alive)
    none = jnp.zeros_like(alive)
    return {"own": alive, "off": 0.0}, {"own": none, "off": others}

  def off_class(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> OffClass:
    """The weight to other classes than the prototype's, for their L1 norm."""
    del class_of
    # A float: with many classes it exceeds 2**31.
    living = jnp.sum(alive, dtype=jnp.float32)
    return jnp.asarray(self.off), living * (self.classes - 1)


def initial(
  kind: str, class_of: Int[ArrayLike, " p"], classes: int
) -> dict[str, jax.Array]:
  """Initial parameters: +1 to the own class, -0.5 to the others.

  Args:
    kind: "dense": {"weight": [k p]}, or "class_block": {"own": [p], "off": []}.
    class_of: the class of each prototype.
    classes: k.

  Raises:
    UserError: there is no such kind.
  """
  if kind not in KINDS:
    raise UserError(
      f"--config.prototypes.head={kind!r}: choose from {', '.join(KINDS)}."
    )
  if kind == "dense":
    own = jnp.arange(classes)[:, None] == class_of[None]
    return {"weight": jnp.where(own, OWN_CLASS, OTHER_CLASS)}
  own = jnp.full(len(class_of), OWN_CLASS)
  return {"own": own, "off": jnp.asarray(OTHER_CLASS)}


def load(params: Params, classes: int) -> Dense | ClassBlock:
  """The head that has these parameters."""
  if "weight" in params:
    return Dense(params["weight"])
  return ClassBlock(params["own"], params["off"], classes)


def some(params: Params, prototypes: Bool[ArrayLike, " p"]) -> Params:
  """The parameters of some of the prototypes."""
  # In both forms prototypes are the last axis of every array with an axis.
  return {
    name: array[..., prototypes] if array.ndim else array
    for name, array in params.items()
  }


def with_weights(params: Params, weight: Float[ArrayLike, "k p"]) -> Params:
  """The parameters with these weights, of the form `Dense`.

  Every head can have any weights in this form. What it has beside them, such as
  a bias, stays.
  """
  rest = {name: x for name, x in params.items() if name not in _WEIGHTS}
  return {**rest, "weight": weight}


def logits(
  scores: Float[ArrayLike, "b p"],
  weight: Float[ArrayLike, "k p"],
  alive: Bool[ArrayLike, " p"],
) -> Float[jax.Array, "b k"]:
  """Weighted sums over the prototypes that are alive."""
  # Both are set to 0: 0 * inf or 0 * nan would reach the logits.
  scores = jnp.where(alive[None], scores, 0.0)
  weight = jnp.where(alive[None], weight, 0.0)
  return jnp.einsum("bp,kp->bk", scores, weight, precision=PRECISION)
