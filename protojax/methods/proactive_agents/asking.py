"""Questions about pictures, half of them of what is true, and their truth."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
import numpy as np

from protojax.agents import scenes
from protojax.agents import world as worlds
from protojax.agents.judge import FACTS
from protojax.types import Array, ArrayLike

_E, _A, _R, _V = worlds.SIZES
_T = len(scenes.TYPES)
KINDS = ("there", "attribute", "whole", "position")
# What is asked of a thing that is not there is easy: so much less of it.
_EASY = 0.1
# Where a picture has no question of a kind, one of any kind is asked.
_ANY = 1e-6


def _kinds() -> Int[np.ndarray, " k"]:
  """Of each cell, its place in `KINDS`; -1: nobody asks for it."""
  number = np.arange(worlds.CELLS)
  found = np.zeros(worlds.CELLS, int)
  found[number >= _E] = 1
  found[number >= _E + _T * _A * _V] = 2
  found[number >= _E + _E * _A * _V] = 3
  return np.where(FACTS, found, -1)


KIND = _kinds()


def drawn(
  true: Bool[ArrayLike, "b k"], keys: Array, count: int
) -> tuple[Int[Array, "b q"], Bool[Array, "b q"]]:
  """Draws questions: cells, and whether each is true of its picture.

  A kind of question is drawn, and then whether the answer is yes. What is not
  true is mostly of things that are there: another colour, another position.

  Args:
    true: of each picture.
    keys: of each picture [b].
    count: questions of each picture, q.
  """
  return jax.vmap(lambda t, key: _drawn(t, key, count))(jnp.asarray(true), keys)


def _drawn(true, key, count):
  there = true[:_E]
  needs = worlds.NEEDS[worlds.UNKNOWN]
  present = there[needs[:, 0]] & there[needs[:, 1]]
  hard = present | (KIND == 0)
  asked = jnp.asarray(FACTS)[None]
  weight = jnp.stack([jnp.where(hard, 1.0, _EASY) * ~true, 1.0 * true]) * asked
  of_kind = jnp.asarray(np.arange(len(KINDS))[:, None] == KIND)
  weights = weight[:, None] * jnp.where(of_kind, 1.0, _ANY)[None]
  limits = jnp.cumsum(weights.reshape(-1, worlds.CELLS), axis=-1)
  which, where = jax.random.split(key)
  row = jax.random.randint(which, (count,), 0, len(limits))
  at = jax.random.uniform(where, (count,)) * limits[row, -1]
  cell = jnp.sum(limits[row] <= at[:, None], axis=-1)
  # Rounding may lead behind the last cell that has a weight.
  cell = jnp.minimum(cell, _last(limits[row]))
  return cell, true[cell]


def _last(limits: Float[Array, "q k"]) -> Int[Array, " q"]:
  """The first cell at which each row of limits has reached its end."""
  return jnp.argmax(limits >= limits[:, -1:], axis=-1)
