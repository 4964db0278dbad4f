"""From scores to logits: a weighted sum that can be read as points.

Last step of the forward path. A logit is the sum of its points, similarity
times weight, which is what the scoring sheet of an explanation shows. The
weights have one of two forms: `Dense` holds one for every class and prototype,
`ClassBlock` those to the own classes and a single one for all else, so that
what it holds does not grow with the classes.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.prototypes.distance import PRECISION
from protojax.types import ArrayLike, UserError

# ProtoPNet, section 2.2: the start of the head's weights.
OWN_CLASS = 1.0
OTHER_CLASS = -0.5

KINDS = ("dense", "class_block")
Params = Mapping[str, Any]
# Parameters, and of how many living entries c(j) != k each is the weight.
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
    """Of every class and prototype; 0 for the dead."""
    del class_of
    return jnp.where(jnp.asarray(alive)[None], self.weight, 0.0)

  def toward(
    self,
    classes: Int[ArrayLike, " b"],
    class_of: Int[ArrayLike, " p"],
    alive: Bool[ArrayLike, " p"],
  ) -> Float[jax.Array, "b p"]:
    """Rows of `weights`, without all of them."""
    del class_of
    chosen = jnp.asarray(self.weight)[classes]
    return jnp.where(jnp.asarray(alive)[None], chosen, 0.0)

  def entries(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> tuple[Params, Params]:
    """Of how many living entries each parameter is the weight.

    Returns:
      Entries c(j) = k, and all others; as the parameters are laid out.
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
  """Weights to the own classes, and one for all others.

  w(k, j) is own_j where c(j) = k and off elsewhere: as the head starts, and
  with P + 1 numbers for any number of classes. See `Dense` for the methods, of
  which `weights` alone makes K x P numbers.

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
    """off times all scores, and own - off more of those of the class."""
    scores = jnp.where(alive[None], scores, 0.0)
    more = jnp.where(alive, self.own - self.off, 0.0)
    by_class = jax.ops.segment_sum(
      (scores * more[None]).T, class_of, self.classes
    )
    return by_class.T + self.off * jnp.sum(scores, axis=1, keepdims=True)

  def weights(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> Float[jax.Array, "k p"]:
    """Of every class and prototype; 0 for the dead."""
    return self.toward(jnp.arange(self.classes), class_of, alive)

  def toward(
    self,
    classes: Int[ArrayLike, " b"],
    class_of: Int[ArrayLike, " p"],
    alive: Bool[ArrayLike, " p"],
  ) -> Float[jax.Array, "b p"]:
    """Rows of `weights`, without all of them."""
    own = jnp.asarray(classes)[:, None] == class_of[None]
    weights = jnp.where(own, self.own[None], self.off)
    return jnp.where(alive[None], weights, 0.0)

  def entries(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> tuple[Params, Params]:
    """Of how many living entries each parameter is the weight."""
    _, others = self.off_class(class_of, alive)
    none = jnp.zeros_like(alive)
    return {"own": alive, "off": 0.0}, {"own": none, "off": others}

  def off_class(
    self, class_of: Int[ArrayLike, " p"], alive: Bool[ArrayLike, " p"]
  ) -> OffClass:
    """The weight to other classes than the prototype's, for their L1 norm."""
    del class_of
    # A float: more than 2**31 with many classes.
    living = jnp.sum(alive, dtype=jnp.float32)
    return jnp.asarray(self.off), living * (self.classes - 1)


def initial(
  kind: str, class_of: Int[ArrayLike, " p"], classes: int
) -> dict[str, jax.Array]:
  """Parameters to start from: +1 to the own class, -0.5 to the others.

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
  """Parameters of some of the prototypes alone."""
  # In both forms the prototypes are the last axis of what has one.
  return {
    name: array[..., prototypes] if array.ndim else array
    for name, array in params.items()
  }


def logits(
  scores: Float[ArrayLike, "b p"],
  weight: Float[ArrayLike, "k p"],
  alive: Bool[ArrayLike, " p"],
) -> Float[jax.Array, "b k"]:
  """Weighted sums over the prototypes that are alive."""
  # Both are masked: 0 * inf or nan would reach the logits.
  scores = jnp.where(alive[None], scores, 0.0)
  weight = jnp.where(alive[None], weight, 0.0)
  return jnp.einsum("bp,kp->bk", scores, weight, precision=PRECISION)
