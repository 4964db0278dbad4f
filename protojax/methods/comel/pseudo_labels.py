"""BPPL: a bag's two prototypes label its instances.

z+ is the mean of the instances by attention, z- the mean by what is left of it.
An instance gets the label of the prototype that it is more similar to, if the
bag is positive, is predicted with confidence, and the two differ enough.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from protojax.methods.comel.network import probabilities
from protojax.types import Array, ArrayLike

FEATURES = ("centred", "plain")
KEPT = ("both", "positive")
BACKGROUNDS = ("complement", "margin")
_LEAST = 1e-10
# Differences of attention below this are rounding.
_ROUNDING = 1e-6
_EXACT = jax.lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Settings:
  """How instances are labelled.

  Attributes:
    weight: of the term in the loss; 0: no pseudo labels.
    features: "centred" (at the middle of the two prototypes, before the cosine)
      or "plain".
    temperature: T of the softmax over the two cosines.
    confidence: tau_1, above which a bag's probability must be.
    quality: tau, in tau_2 = (1 + tau quality) / 2, the least probability of a
      label that is kept.
    kept: "both" labels, or those of the "positive" prototype alone.
    background: b, the weights of z-: "complement" of the attention, 1 - a, or
      its "margin" below the largest, max a - a.
    apart: weight of cos(z+, z-) in the loss.
  """

  weight: float = 1.0
  features: str = "centred"
  temperature: float = 0.25
  confidence: float = 0.95
  quality: float = 0.5
  kept: str = "both"
  background: str = "complement"
  apart: float = 0.0


class Labels(NamedTuple):
  """Pseudo labels of the instances of a bag.

  Attributes:
    positive: q_m, the probability of the positive prototype.
    label: l_m, 1 or 0.
    cosine: between the prototypes.
  """

  positive: Float[Array, " n"]
  label: Int[Array, " n"]
  cosine: Float[Array, ""]


def background(
  attended: Float[ArrayLike, " n"], valid: Bool[ArrayLike, " n"], kind: str
) -> Float[jax.Array, " n"]:
  """b, the weights of z-, which sum to 1 over the instances of a bag."""
  attended, valid = jnp.asarray(attended), jnp.asarray(valid)
  top = 1.0 if kind == "complement" else jnp.max(attended)
  rest = jnp.where(valid, top - attended, 0.0)
  # Of a bag with one instance, or with equal ones, nothing may be left.
  total = jnp.sum(rest)
  even = jnp.where(valid, 1.0, 0.0) / jnp.sum(jnp.where(valid, 1.0, 0.0))
  return jnp.where(total > _LEAST, rest / jnp.maximum(total, _LEAST), even)


def prototypes(
  features: Float[ArrayLike, "n d"],
  attended: Float[ArrayLike, " n"],
  valid: Bool[ArrayLike, " n"],
  kind: str,
) -> tuple[Float[jax.Array, " d"], Float[jax.Array, " d"]]:
  """z+ and z- of a bag; `kind` is that of the `background`."""
  rest = background(attended, valid, kind)
  plus, minus = (
    jnp.matmul(weights, features, precision=_EXACT)
    for weights in (attended, rest)
  )
  return plus, minus


def distances(
  features: Float[ArrayLike, "n d"], prototype: Float[ArrayLike, " d"]
) -> Float[jax.Array, " n"]:
  """The Euclidean distance of each instance to a prototype."""
  off = jnp.asarray(features) - jnp.asarray(prototype)[None]
  return jnp.sqrt(jnp.sum(off**2, axis=1))


def labels(
  features: Float[ArrayLike, "n d"],
  attended: Float[ArrayLike, " n"],
  valid: Bool[ArrayLike, " n"],
  settings: Settings,
) -> Labels:
  """The pseudo labels of a bag's instances."""
  features = jnp.asarray(features)
  plus, minus = prototypes(features, attended, valid, settings.background)
  cosine = jnp.dot(_unit(plus), _unit(minus), precision=_EXACT)
  if settings.features == "centred":
    middle = (plus + minus) / 2
    features = features - middle[None]
    plus, minus = plus - middle, minus - middle
  units = _unit(features)
  gap = jnp.matmul(units, _unit(plus) - _unit(minus), precision=_EXACT)
  positive = jax.nn.sigmoid(gap / settings.temperature)
  return Labels(positive, (gap > 0).astype(jnp.int32), cosine)


def kept(
  found: Labels,
  valid: Bool[ArrayLike, " n"],
  least: Float[ArrayLike, ""],
  settings: Settings,
) -> Bool[jax.Array, " n"]:
  """Instances whose label is kept: max q > tau_2."""
  sure = jnp.maximum(found.positive, 1 - found.positive) > least
  if settings.kept == "positive":
    sure = sure & (found.label == 1)
  return sure & valid


def surprise(
  p: Float[ArrayLike, " n"], label: Int[ArrayLike, " n"]
) -> Float[jax.Array, " n"]:
  """-log p_m,l, where p_m,l is p of the label 1, and 1 - p of the label 0.

  The least positive instance has p = 0. A compiled program may compute both
  sides of a - min a, and get a number just below 0, which has no logarithm. As
  1 / p is as large as rounding makes it, there is no gradient there.
  """
  own = jnp.where(jnp.asarray(label) == 1, p, 1 - jnp.asarray(p))
  nothing = jax.lax.stop_gradient(jnp.maximum(own, 0.0))
  return -jnp.log(jnp.where(own > _ROUNDING, own, nothing) + _LEAST)


def loss(
  found: Labels,
  chosen: Bool[ArrayLike, " n"],
  attended: Float[ArrayLike, " n"],
  valid: Bool[ArrayLike, " n"],
  settings: Settings,
) -> Float[jax.Array, ""]:
  """L_inst = (1 / M) sum over kept instances of -log p_m,l.

  The gradient goes through p alone. With the labels of the "positive" prototype
  alone, M is the number of instances with this label, kept or not.
  """
  p = probabilities(attended, valid)
  losses = jnp.where(chosen, surprise(p, found.label), 0.0)
  if settings.kept == "positive":
    # As in the joint trainer: the mean of the kept, times kept / labelled.
    count = jnp.sum(jnp.where(valid, found.label == 1, False))
  else:
    count = jnp.sum(jnp.asarray(valid))
  return jnp.sum(losses) / jnp.maximum(count, 1)


def _unit(x: Array) -> Array:
  # The gradient of a norm is not finite at 0.
  squares = jnp.sum(x**2, axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.maximum(squares, 1e-20))
